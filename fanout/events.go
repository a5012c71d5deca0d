package fanout

import (
	"encoding/json"
	"strconv"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// eventStream is what a connection of Server-Sent Events has beside others. Its
// client asks with its HTTP request and never again. Owned by the shard.
type eventStream struct {
	ask       *pb.Subscribe // nil once it was asked
	eager     bool          // the client is told where it stands after every send
	untold    int           // bytes sent since it was told
	tokenSize int           // bytes that telling it took
	named     int           // bytes that its topics take in a token at most, not in base64
}

// MaxEventTopics bounds the topics of one event stream, since its resume token
// names them all.
const MaxEventTopics = 64

// mostSubs is how many subscriptions c may have.
func (c *conn) mostSubs() int {
	if c.events != nil {
		return c.shard.config.mostEventTopics()
	}
	return c.shard.config.MaxSubscriptions
}

// mostEventTopics is how many topics an event stream, or a poll, may have.
func (c *Config) mostEventTopics() int { return min(MaxEventTopics, c.MaxSubscriptions) }

// askFor carries out the request that an event stream began with.
func (s *shard) askFor(c *conn) {
	ask := c.events.ask
	c.events.ask = nil
	if wait := s.refusesShare(c); wait > 0 {
		s.refuseFor(c, answer{id: 1}, pb.ErrorCode_ERROR_CODE_RATE_LIMITED, tooManyOfUser, wait)
		s.dropIdle(c)
		return
	}
	s.dispatch(c, &pb.Request{Id: 1, Body: &pb.Request_Subscribe{Subscribe: ask}})
	s.dropIdle(c)
}

// dropIdle ends an event stream that has nothing to tell any more.
func (s *shard) dropIdle(c *conn) {
	if c.events != nil && c.state == open && len(c.subs) == 0 {
		s.sayRetry(c, minIdleRetryMS+s.jitter.IntN(minIdleRetryMS))
		s.drop(c, DropNoTopic)
	}
}

// How long a browser waits before it connects anew, in ms: usually, and after a
// stream that had no topic.
const (
	minRetryMS     = 1000
	minIdleRetryMS = 5000
)

// sayRetry tells a browser how long to wait before it connects anew.
func (s *shard) sayRetry(c *conn, ms int) {
	b := append(s.encoder.begin()[:0], "retry: "...)
	s.append(c, append(strconv.AppendInt(b, int64(ms), 10), eventEnd...))
}

// sayAlive keeps what lies between the server and c from taking it for dead.
func (s *shard) sayAlive(c *conn) {
	if !c.blocked && len(c.control) == 0 {
		s.append(c, []byte(":\n\n"))
		s.enqueue(c)
	}
}

// sayStand tells c where it stands once p, as far as it is collected, has left, unless
// that would be the most of what is sent: a client that knows an older place has the
// difference sent twice, which does no harm. untold is how many bytes it has not been
// told of. false: there was no room for it, and nothing is to follow.
//
// It is an event without data: browsers note its id and hand nothing to the page.
func (p *plan) sayStand(untold int) bool {
	s, c := p.shard, p.conn
	if untold == 0 || untold < c.events.tokenSize && !c.events.eager || len(c.subs) == 0 {
		return true
	}
	begin := len(s.batch.stands)
	b := append(s.batch.stands, "id: "...)
	b = append(s.appendResumeToken(b, c, p), eventEnd...)
	if !p.room(len(b) - begin) {
		return false
	}
	s.batch.stands = b
	p.append(part{bytes: b[begin:len(b):len(b)], stand: true})
	p.untold = 0
	return true
}

// endEvents says why c ends, since there is no close frame that could.
func (s *shard) endEvents(c *conn, why Drop) {
	text, err := json.Marshal(struct {
		Type    string `json:"type"`
		Code    int    `json:"code"`
		Reason  string `json:"reason"`
		Message string `json:"message"`
		Retry   string `json:"retry"`
	}{"close", int(why.Code), why.Label, why.Text, proto.RetryWord(why.Retry)})
	if err != nil {
		return // the table's texts are valid
	}
	c.control = append(c.control, s.encoder.wrap(framingEvents, append(s.encoder.begin(), text...))...)
	c.peerClosed = true // nothing is awaited of the client
}
