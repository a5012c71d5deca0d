package fanout

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/depthcast/depthcast/fanout/ring"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// A resume token is the subscribe request with which a client goes on from where it
// stands: the message Subscribe of stream.proto, in base64 for URLs. It holds what
// was granted and, by topic, epoch, seq, hash or ordinal. It grants nothing, so
// nobody gains by making one up: it is taken like any other request, and what does
// not fit the books leads to a snapshot.

// errResumeToken refuses what is no resume token.
var errResumeToken = errors.New("no resume token of this server")

// MaxResumeTokenBytes bounds one, in base64. The line of a request that has it must be
// taken by what lies between: NGINX takes 8 KiB where it is not told otherwise.
const MaxResumeTokenBytes = 7 << 10

// tokenCapBytes is the most that the caps take in one, before it is put into base64.
const tokenCapBytes = 2 * (1 + binary.MaxVarintLen64)

// holds reports whether a resume token has room for key beside what c has.
func (e *eventStream) holds(c *conn, key proto.TopicKey) bool {
	most := base64.RawURLEncoding.DecodedLen(c.shard.config.ResumeTokenBytes)
	return e.named+tokenBytes(key)+tokenCapBytes <= most
}

// tokenFull says that there is no room for a topic.
const tokenFull = "the resume token of an event stream or poll has no room for it: ask for it with another one"

// parseResumeToken returns the request that a token stands for.
func parseResumeToken(text string) (*pb.Subscribe, error) {
	if len(text) > MaxResumeTokenBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", errResumeToken, len(text), MaxResumeTokenBytes)
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, errResumeToken
	}
	msg := protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), raw)
	req, err := proto.DecodeRequest(msg)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errResumeToken, err)
	}
	return req.GetSubscribe(), nil
}

// appendResumeToken appends the token of c as it stands once p has left.
func (s *shard) appendResumeToken(dst []byte, c *conn, p *plan) []byte {
	raw := s.tokenRoom[:0]
	for _, sub := range c.subs {
		item := s.item(sub)
		if r, known := sub.stand(p); known {
			raw = item.appendTo(raw, &r)
		} else {
			raw = item.appendTo(raw, nil)
		}
	}
	hz, bytes := c.granted()
	raw = appendNumber(raw, 2, uint64(hz))
	raw = appendNumber(raw, 3, bytes)
	s.tokenRoom = raw
	return base64.RawURLEncoding.AppendEncode(dst, raw)
}

// tokenItem is a topic, or a pattern in a channel of many, as a resume token names it.
type tokenItem struct {
	key  proto.TopicKey
	step uint8 // index of the interval
	drop bool
	last uint32 // of a trades channel
}

// named returns what a token calls sub, which has, or is to have, the topic of key: for
// a wildcard its own pattern and view.
func (s *shard) named(sub *subscription, key proto.TopicKey) proto.TopicKey {
	if w := s.wildcards[sub]; w != nil {
		return w.key
	}
	return key
}

// item returns sub as a token names it.
func (s *shard) item(sub *subscription) tokenItem {
	if w := s.wildcards[sub]; w != nil {
		last := min(w.item.Last, proto.MaxPastTrades)
		return tokenItem{w.key, grantInterval(w.item.IntervalMs), w.item.Policy == pb.Policy_POLICY_DROP, last}
	}
	return tokenItem{sub.feed.topic.key, sub.step, sub.drop, sub.past()}
}

// tokenBytes is the most that a topic takes in a token, before it is put into base64.
func tokenBytes(key proto.TopicKey) int {
	var room [256]byte
	most := tokenItem{key: key, step: uint8(len(intervals) - 1), drop: true, last: proto.MaxPastTrades}
	return len(most.appendTo(room[:0], &resume{epoch: math.MaxUint64, seq: -1, hash: math.MaxUint32, ordinal: math.MaxUint64}))
}

// appendTo appends i as an item of a subscribe request; at is where its client stands,
// if that is known.
func (i *tokenItem) appendTo(dst []byte, at *resume) []byte {
	var room [256]byte
	b := protowire.AppendTag(room[:0], 1, protowire.BytesType)
	b = protowire.AppendString(b, i.key.Symbol)
	b = appendNumber(b, 2, uint64(i.key.Channel))
	b = appendNumber(b, 3, uint64(i.key.View.Depth))
	if g := i.key.View.Group; !g.None() {
		b = protowire.AppendString(protowire.AppendTag(b, 4, protowire.BytesType), g.String())
	}
	if i.key.View.Counts {
		b = appendNumber(b, 5, 1)
	}
	b = appendNumber(b, 6, uint64(intervalMS(i.step)))
	if i.drop {
		b = appendNumber(b, 7, uint64(pb.Policy_POLICY_DROP))
	}
	if i.key.Channel == proto.ChannelTrades {
		b = appendNumber(b, 8, uint64(i.last))
	}
	if at != nil {
		stand := *at
		if i.key.Channel != proto.ChannelTrades && !sums(i.key.Channel) {
			stand.ordinal = 0
		}
		b = stand.appendTo(b)
	}
	dst = protowire.AppendTag(dst, 1, protowire.BytesType)
	return protowire.AppendBytes(dst, b)
}

// appendTo appends r as the field resume of an item.
func (r resume) appendTo(dst []byte) []byte {
	var room [48]byte
	b := protowire.AppendFixed64(protowire.AppendTag(room[:0], 1, protowire.Fixed64Type), r.epoch)
	b = appendNumber(b, 2, uint64(r.seq))
	b = protowire.AppendFixed32(protowire.AppendTag(b, 3, protowire.Fixed32Type), r.hash)
	b = appendNumber(b, 4, r.ordinal)
	return protowire.AppendBytes(protowire.AppendTag(dst, 9, protowire.BytesType), b)
}

// appendNumber appends a field that is left out at zero.
func appendNumber(dst []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), v)
}

// stand returns where sub's client stands once p has left. It is not known of one
// that has been sent nothing yet, or whose place the ring has gone past.
func (sub *subscription) stand(p *plan) (resume, bool) {
	if sub.state == waiting {
		return p.shard.awaited(sub), true
	}
	next, state := sub.next, sub.state
	var read tradesRead
	if r := sub.read(); r != nil {
		read = *r
	}
	for _, part := range p.list() {
		if part.sub == sub {
			next, state = part.next, live
			if part.trades {
				read.began, read.seq, read.ordinal = true, part.seq, part.ordinal
			}
		}
	}
	t := sub.feed.topic
	if state != live {
		return resume{}, false
	}
	r, known := t.standBefore(next)
	if sums(t.key.Channel) {
		r.hash, r.ordinal = t.name(), next-1
	}
	if t.key.Channel == proto.ChannelTrades {
		r.seq, r.ordinal, known = read.seq, read.ordinal, known && read.began
	}
	return r, known
}

// standBefore returns where a client stands that has seen all before the ring
// position next.
func (t *Topic) standBefore(next uint64) (resume, bool) {
	e, status := t.ring.Get(next - 1)
	snap := t.snapshot.Load()
	r := resume{epoch: snap.state.Epoch}
	switch {
	case snap.position == next-1:
		r.seq, r.hash = snap.state.Seq, snap.state.Hash
	case status == ring.OK && e.Value.since == snap.since:
		// No reset lies between the two, so that they are of one epoch.
		r.seq, r.hash = e.Value.seq, e.Value.hash
	case next == 1 && snap.since == 0:
		r.seq, r.hash = t.openedSeq, t.openedHash
	default:
		return r, false
	}
	return r, true
}
