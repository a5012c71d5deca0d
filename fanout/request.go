package fanout

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// request handles one message of c. Whatever it holds, it is answered and c goes
// on, save that what breaks a limit of memory, or of what it may send, ends it.
func (s *shard) request(c *conn, msg []byte) {
	if wait, why := s.mayAsk(c); wait > 0 {
		s.refuseFor(c, answer{id: c.framing.codec().RequestID(msg)}, pb.ErrorCode_ERROR_CODE_RATE_LIMITED, why, wait)
		return
	}
	req, err := c.framing.codec().DecodeRequest(msg)
	var bad *proto.RequestError
	switch {
	case errors.As(err, &bad):
		s.refuse(c, answer{id: bad.ID}, bad.Code, bad.Error())
	case err != nil:
		s.refuse(c, answer{}, pb.ErrorCode_ERROR_CODE_BAD_REQUEST, err.Error())
	default:
		s.dispatch(c, req)
	}
}

func (s *shard) dispatch(c *conn, req *pb.Request) {
	if n := itemsIn(req); n > s.config.MaxItems {
		s.refuse(c, answer{id: req.Id}, pb.ErrorCode_ERROR_CODE_TOO_MANY_ITEMS, fmt.Sprintf("%d items, at most %d", n, s.config.MaxItems))
		return
	}
	if c.stranger() && !forStrangers(req) {
		s.refuse(c, answer{id: req.Id}, pb.ErrorCode_ERROR_CODE_UNAUTHENTICATED, "")
		return
	}
	s.asksFor(c, s.itemsOf(req))
	s.relieve(c, itemsIn(req))
	switch body := req.Body.(type) {
	case *pb.Request_Subscribe:
		c.setCaps(body.Subscribe.MaxHz, body.Subscribe.MaxBytesPerS)
		for i, item := range body.Subscribe.Items {
			s.coming = len(body.Subscribe.Items) - i
			s.subscribe(c, answer{id: req.Id, item: uint32(i), ofItem: true}, item)
		}
		s.coming = 0
	case *pb.Request_Unsubscribe:
		s.eachTopic(c, req.Id, body.Unsubscribe.Topics, s.unsubscribe)
	case *pb.Request_Modify:
		c.setCaps(body.Modify.MaxHz, body.Modify.MaxBytesPerS)
		if len(body.Modify.Items) == 0 { // it is about the connection alone
			hz, bytes := c.granted()
			s.say(c, &pb.Frame{Body: &pb.Frame_Ack{Ack: &pb.Ack{Id: req.Id, MaxHz: hz, MaxBytesPerS: bytes}}}, proto.Exponents{})
		}
		for i, item := range body.Modify.Items {
			s.modify(c, answer{id: req.Id, item: uint32(i), ofItem: true, topic: item.Topic}, item)
		}
	case *pb.Request_Resync:
		s.eachTopic(c, req.Id, body.Resync.Topics, s.resync)
	case *pb.Request_Mismatch:
		s.stats.mismatches.Add(1)
		s.config.Log.Debug("client reports another hash", "remote", c.remote, "topic", body.Mismatch.Topic, "seq", body.Mismatch.Seq)
		s.eachTopic(c, req.Id, []uint32{body.Mismatch.Topic}, s.resync)
	case *pb.Request_Auth:
		s.auth(c, req.Id, body.Auth.Token)
	case *pb.Request_Ping:
		s.say(c, &pb.Frame{Body: &pb.Frame_Pong{Pong: &pb.Pong{Id: req.Id, Data: body.Ping.Data, Time: s.now.UnixNano()}}}, proto.Exponents{})
	default:
		s.refuse(c, answer{id: req.Id}, pb.ErrorCode_ERROR_CODE_UNKNOWN_REQUEST, "")
	}
}

func itemsIn(req *pb.Request) int {
	return len(req.GetSubscribe().GetItems()) + len(req.GetUnsubscribe().GetTopics()) +
		len(req.GetModify().GetItems()) + len(req.GetResync().GetTopics())
}

// answer says what an ack or an error is about.
type answer struct {
	id, item uint32 // of the request
	topic    uint32 // number, where one is named
	ofItem   bool   // else of the request as a whole
}

// eachTopic calls do for the subscription of each topic number.
func (s *shard) eachTopic(c *conn, id uint32, topics []uint32, do func(*conn, answer, *subscription)) {
	for i, number := range topics {
		a := answer{id: id, item: uint32(i), ofItem: true, topic: number}
		if sub := c.subscription(number); sub != nil {
			do(c, a, sub)
		} else {
			s.refuse(c, a, pb.ErrorCode_ERROR_CODE_UNKNOWN_TOPIC, "")
		}
	}
}

// subscription returns c's subscription of a topic, nil if it has none.
func (c *conn) subscription(number uint32) *subscription {
	for _, sub := range c.subs {
		if sub.number() == number {
			return sub
		}
	}
	return nil
}

// resync has a snapshot sent, unless c asks for that too often.
func (s *shard) resync(c *conn, a answer, sub *subscription) {
	if sub.state == apart {
		s.refuse(c, a, pb.ErrorCode_ERROR_CODE_BAD_REQUEST, notOfPatterns)
		return
	}
	if c.resyncs.take(s.since, s.config.ResyncInterval, resyncBurst) > 0 {
		s.refuse(c, a, pb.ErrorCode_ERROR_CODE_RATE_LIMITED, "")
		return
	}
	if !s.affords(c) {
		s.stats.snapshotsRefused.Add(1)
		s.refuse(c, a, pb.ErrorCode_ERROR_CODE_RATE_LIMITED, tooManySnapshots)
		return
	}
	s.owe(c, sub.feed.topic)
	s.stats.resyncs.Add(1)
	if sub.state != waiting {
		sub.rejoin(proto.SnapshotResync)
		s.list(sub)
	}
}

// maxTextBytes bounds the text of an error.
const maxTextBytes = 200

// cut bounds a text that repeats what the client sent, and keeps it UTF-8.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// resyncBurst is how many snapshots may be asked for at once.
const resyncBurst = 8

// refuse answers with an error; without a text, with that of the table.
func (s *shard) refuse(c *conn, a answer, code pb.ErrorCode, text string) {
	s.refuseFor(c, a, code, text, 0)
}

// refuseFor is refuse where it is known for how long.
func (s *shard) refuseFor(c *conn, a answer, code pb.ErrorCode, text string, wait time.Duration) {
	row := errorRows[code]
	row.RetryAfterMS = max(row.RetryAfterMS, uint32(wait.Milliseconds()))
	if text == "" {
		text = row.Text
	}
	text = cut(text, maxTextBytes)
	s.stats.errors[code].Add(1)
	e := &pb.Error{Id: a.id, Topic: a.topic, Code: code, Message: text, Retry: row.Retry, RetryAfterMs: row.RetryAfterMS}
	if a.ofItem {
		e.Item = &a.item
	}
	s.say(c, &pb.Frame{Body: &pb.Frame_Error{Error: e}}, proto.Exponents{})
}

// say puts a frame of c's own before its data.
func (s *shard) say(c *conn, f *pb.Frame, x proto.Exponents) {
	if c.state != open {
		return
	}
	b, err := c.framing.codec().AppendFrame(s.encoder.begin(), f, x)
	if err != nil {
		s.config.Log.Error("cannot encode a frame", "remote", c.remote, "err", err)
		s.drop(c, DropInternal)
		return
	}
	s.append(c, s.encoder.wrap(c.framing, b))
}

// sayState tells sub's client the state of the book outside the order of the ring.
func (s *shard) sayState(sub *subscription, snap *snapshot) {
	s.append(sub.conn, s.stateFrame(sub.feed.topic, snap, sub.framing).bytes)
}
