package fanout

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/binance"
	"github.com/depthcast/depthcast/proto/pb"
)

// sayShutdown tells c that the server stops.
func (s *shard) sayShutdown(c *conn) {
	s.tellDialect(c, binance.AppendShutdown(s.encoder.begin(), s.now.UnixMilli()))
}

func (s *shard) answerBinance(c *conn, result string, id []byte) {
	s.tellDialect(c, binance.AppendResult(s.encoder.begin(), result, id))
}

func (s *shard) refuseBinance(c *conn, code pb.ErrorCode, e *binance.RequestError, id []byte) {
	s.stats.errors[code].Add(1)
	told := binance.RequestError{Code: e.Code, Text: cut(e.Text, maxTextBytes)}
	s.tellDialect(c, binance.AppendError(s.encoder.begin(), &told, id))
}

// errTooFast never changes: all shards have it.
var errTooFast = &binance.RequestError{Code: -1003, Text: "Too many requests"}

// askBinance handles a message of a client that speaks Binance's protocol.
func (s *shard) askBinance(c *conn, msg []byte, granted bool) {
	if !granted && len(msg) > largeMessage {
		s.refuseBinance(c, pb.ErrorCode_ERROR_CODE_RATE_LIMITED, errTooFast, []byte("null"))
		return
	}
	r, err := binance.Decode(msg)
	var bad *binance.RequestError
	switch {
	case errors.As(err, &bad):
		s.refuseBinance(c, pb.ErrorCode_ERROR_CODE_BAD_REQUEST, bad, r.ID)
		return
	case !granted:
		s.refuseBinance(c, pb.ErrorCode_ERROR_CODE_RATE_LIMITED, errTooFast, r.ID)
		return
	case len(r.Streams) > s.config.MaxItems:
		s.refuseBinance(c, pb.ErrorCode_ERROR_CODE_TOO_MANY_ITEMS, &binance.RequestError{Code: 2, Text: "Invalid request: too many streams"}, r.ID)
		return
	}
	s.asksFor(c, len(r.Streams))
	s.relieve(c, 1)
	switch r.Method {
	case binance.Subscribe:
		if code, refusal := s.beginStreams(c, r.Streams); refusal != nil {
			s.refuseBinance(c, code, refusal, r.ID)
			return
		}
	case binance.Unsubscribe:
		s.endStreams(c, r.Streams)
	case binance.ListSubscriptions:
		s.answerBinance(c, listStreams(c), r.ID)
		return
	case binance.SetProperty:
		c.combine(r.Combined)
	case binance.GetProperty:
		result := "false"
		if c.framing != framingBinance {
			result = "true"
		}
		s.answerBinance(c, result, r.ID)
		return
	}
	s.answerBinance(c, "null", r.ID)
}

// greetBinance begins the streams that c's address names. One that does not exist, or
// is not granted, is passed over, as the exchange does (ccxt connects to /ws/0). Where
// one cannot be had for now c ends, and may come again: it would wait in vain for it.
func (s *shard) greetBinance(c *conn, streams []string) {
	s.stats.binance.Add(1)
	if len(streams) == 0 {
		return
	}
	if s.refusesShare(c) > 0 {
		s.putOffBinance(c, pb.ErrorCode_ERROR_CODE_RATE_LIMITED, errTooFast)
		return
	}
	s.asksFor(c, len(streams))
	for _, name := range streams {
		if code, refusal := s.beginStreams(c, []string{name}); errorRows[code].Retry == pb.Retry_RETRY_AFTER {
			s.putOffBinance(c, code, refusal)
			return
		}
	}
}

// putOffBinance ends c, which may come again, with an error; where the server stops it
// hears of that.
func (s *shard) putOffBinance(c *conn, code pb.ErrorCode, e *binance.RequestError) {
	if s.obeyed == orderNone {
		s.refuseBinance(c, code, e, []byte("null"))
		s.drop(c, DropNoTopic)
	}
}

// beginStreams subscribes to streams, each for itself, and returns what there is to
// say of the first that was refused. One that c has already is none of those.
func (s *shard) beginStreams(c *conn, names []string) (first pb.ErrorCode, refusal *binance.RequestError) {
	for _, name := range names {
		if c.state != open {
			return first, refusal
		}
		w, err := s.streamWish(c, name)
		code, text := pb.ErrorCode_ERROR_CODE_UNSPECIFIED, ""
		if err != nil {
			code, text = errorOf(err), err.Error()
		} else if !c.hasStream(w) {
			no := s.grantWish(c, w)
			if code, text = no.code, no.text; code != 0 && text == "" {
				text = errorRows[code].Text
			}
		}
		if code != 0 && refusal == nil {
			first, refusal = code, &binance.RequestError{Code: 2, Text: "Invalid request: " + cut(name, maxNameBytes) + ": " + text}
		}
	}
	return first, refusal
}

// maxNameBytes bounds what is repeated of a stream's name.
const maxNameBytes = 60

// errNoStream refuses a name that is none of a stream that is served here.
var errNoStream = errors.New("no such stream")

// streamWish returns what a stream's name asks for.
func (s *shard) streamWish(c *conn, name string) (w wish, err error) {
	stream, ok := binance.ParseStream(name)
	if !ok {
		return w, errors.Join(proto.ErrUnknownChannel, errNoStream)
	}
	found, err := s.hub.pairs.find(c.granting(), stream.ID)
	if err != nil {
		return w, err
	}
	w = wish{pair: found.Pair, manner: whole, snapshot: true}
	w.key = proto.TopicKey{Symbol: found.Symbol, Channel: proto.ChannelBook, View: proto.View{Depth: stream.Levels}}
	switch stream.Kind {
	case binance.Trades:
		w.key.Channel, w.manner = proto.ChannelTrades, updates
	case binance.Quote:
		w.key.View.Depth = 1
	case binance.Diff:
		w.manner = diffs
	}
	w.step = c.stepOf(stream)
	w.framing = c.streamFraming(stream.Speed)
	return w, nil
}

// fastStep and slowStep are the intervals of depth streams.
var fastStep, slowStep = grantInterval(100), grantInterval(1000)

// stepOf returns the index of the interval at which c has a stream.
func (c *conn) stepOf(stream binance.Stream) (step uint8) {
	switch {
	case stream.Speed == binance.Fast:
		step = fastStep
	case stream.Kind == binance.Diff || stream.Kind == binance.Partial:
		step = slowStep
	}
	return c.granting().step(step)
}

// streamFraming returns how c is told of a stream.
func (c *conn) streamFraming(speed binance.Speed) framing {
	switch {
	case c.framing == framingBinance:
		return framingBinance
	case speed == binance.Fast:
		return framingFastStreams
	case speed == binance.Slow:
		return framingSlowStreams
	}
	return framingStreams
}

// speed returns what the name of sub's stream says, as far as is known: of a raw
// stream, whose data do not name it, only whether it is fast.
func (sub *subscription) speed() binance.Speed {
	if sub.framing == framingBinance && sub.step == fastStep {
		return binance.Fast
	}
	return speeds[sub.framing]
}

// combine has what c is told name its stream, or not.
func (c *conn) combine(combined bool) {
	c.framing = framingBinance
	if combined {
		c.framing = framingStreams
	}
	for _, sub := range c.subs {
		sub.framing = c.streamFraming(sub.speed())
		sub.feed.topic.forms.note(sub.framing, c.deflate != 0)
	}
}

// hasStream reports whether c follows the stream that w asks for.
func (c *conn) hasStream(w wish) bool {
	return slices.ContainsFunc(c.subs, func(sub *subscription) bool {
		return sub.feed.topic.key == w.key && sub.step == w.step && sub.framing == w.framing
	})
}

// endStreams unsubscribes c from streams, by the names that they were asked for by,
// whatever has these names now. One that c does not have is passed over.
func (s *shard) endStreams(c *conn, names []string) {
	for _, name := range names {
		stream, ok := binance.ParseStream(name)
		if !ok {
			continue
		}
		step, framing := c.stepOf(stream), c.streamFraming(stream.Speed)
		i := slices.IndexFunc(c.subs, func(sub *subscription) bool {
			t := sub.feed.topic
			return sub.step == step && sub.framing == framing && streamOf(t.key, t.dialects.Load().pair, stream.Speed) == stream
		})
		if i >= 0 {
			s.remove(c.subs[i])
		}
	}
}

// listStreams returns the names of c's streams, as JSON.
func listStreams(c *conn) string {
	names := []string{}
	for _, sub := range c.subs {
		t := sub.feed.topic
		names = append(names, streamOf(t.key, t.dialects.Load().pair, sub.speed()).Name())
	}
	list, _ := json.Marshal(names) // strings have no error
	return string(list)
}
