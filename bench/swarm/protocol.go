package swarm

import (
	"fmt"
	"strings"

	"github.com/gobwas/ws"
	googleproto "google.golang.org/protobuf/proto"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// maskedFrame is one frame of a client. body is left as it is.
func maskedFrame(op ws.OpCode, body []byte) []byte {
	f := ws.MaskFrameInPlace(ws.NewFrame(op, true, append([]byte(nil), body...)))
	b, err := ws.CompileFrame(f)
	if err != nil {
		panic(err) // a frame that is too large for its header: ours are small
	}
	return b
}

// request sends one request.
func (l *link) request(r *pb.Request) {
	body, err := googleproto.Marshal(r)
	if l.codec == proto.CodecJSON {
		body, err = proto.EncodeJSONRequest(r)
	}
	if err != nil {
		panic(err) // what is asked for was checked with the plan
	}
	l.send(maskedFrame(l.opcode(), body))
}

// itemsPerRequest is below what servers allow (hello.limits.max_items).
const itemsPerRequest = 200

// A request's id tells what it is about: a subscribe of the subscriptions from
// id-1 on, or, above unsubscribeID, an unsubscribe of one.
const unsubscribeID = 1 << 24

// subscribe asks for everything that the connection wants: while there is churn not
// what it has left, and never what has ended.
func (l *link) subscribe() {
	l.unsettled = 0
	for i := range l.subs {
		switch s := &l.subs[i]; {
		case s.stage == final:
			s.topic = 0 // of the connection before
			continue
		case s.stage != off && s.stage != leaving:
		case l.swarm.activity.step == StepChurn, l.swarm.activity.step == StepRamp: // left, or left for later
			s.stage = off
			continue
		default:
			s.stage = asked
		}
		l.unsettled++
	}
	if l.unsettled == 0 {
		l.settled()
		return
	}
	for from := 0; from < len(l.subs) && l.phase == ready; from += itemsPerRequest {
		l.ask(from, min(from+itemsPerRequest, len(l.subs)))
	}
}

// ask subscribes to what is wanted of subs[from:to].
func (l *link) ask(from, to int) {
	for from < to && l.subs[from].unwanted() {
		from++
	}
	var items []*pb.SubscribeItem
	next := from
	for ; next < to && !l.subs[next].unwanted(); next++ { // an id tells of a run without holes
		items = append(items, l.item(next))
	}
	if len(items) == 0 {
		return
	}
	l.swarm.figures.Subscribes += uint64(len(items))
	l.request(&pb.Request{Id: uint32(from + 1), Body: &pb.Request_Subscribe{Subscribe: &pb.Subscribe{Items: items}}})
	if next < to && l.phase == ready {
		l.ask(next, to)
	}
}

// item is what is asked for subscription j.
func (l *link) item(j int) *pb.SubscribeItem {
	plan, s := l.swarm.plan, &l.subs[j]
	item := &pb.SubscribeItem{
		Symbol: plan.Symbols[s.symbol], Channel: pb.Channel_CHANNEL_BOOK,
		Depth: plan.Depths[s.depth], IntervalMs: plan.intervalOf(l.index, j), Policy: pb.Policy_POLICY_CONFLATE,
	}
	if plan.Drop {
		item.Policy = pb.Policy_POLICY_DROP
	}
	if l.again && s.stage == live && s.hashed {
		item.Resume = &pb.Resume{Epoch: s.epoch, Seq: s.mine, Hash: s.hash}
	} else if s.full != nil {
		s.full.book.Void()
	}
	s.stage, s.since, s.resuming = asked, l.swarm.clock(), item.Resume != nil
	return item
}

// message implements receiver.
func (l *link) message(op ws.OpCode, payload []byte, size int) error {
	s := l.swarm
	switch op {
	case ws.OpPing:
		l.send(maskedFrame(ws.OpPong, payload))
		return l.going()
	case ws.OpPong:
		return nil
	case ws.OpClose:
		return l.closing(payload)
	}
	s.figures.Messages++
	if op != l.opcode() {
		return fmt.Errorf("%w: message of type %#x", errMessage, byte(op))
	}
	if s.plan.Dialect != Depthcast {
		return l.foreign(payload, size)
	}
	if s.plan.Count && size > 0 && kind(payload[0]>>3) == kindDelta {
		return l.counted(1)
	}
	h := &s.head
	var err error
	if l.codec == proto.CodecJSON {
		err = h.readJSON(payload, size)
	} else {
		err = h.readProto(payload, size)
	}
	if err != nil {
		return err
	}
	if h.kind.light() {
		err = l.state(h, op, payload, size)
	} else if size == len(payload) {
		err = l.word(payload)
	}
	if err != nil {
		return err
	}
	return l.going()
}

// going breaks off a walk when the connection was ended by what it found.
func (l *link) going() error {
	if l.phase == closed {
		return errEnded
	}
	return nil
}

// closing is told of the server's close frame.
func (l *link) closing(payload []byte) error {
	code, text := ws.ParseCloseFrameData(payload)
	reason, _, _ := strings.Cut(text, ":")
	if reason == "" {
		reason = fmt.Sprintf("close %d", code)
	}
	l.end(reason)
	return errEnded
}

// fewSubs are found faster one after the other than in a map.
const fewSubs = 8

// find returns the subscription of a topic number, nil if there is none.
func (l *link) find(topic uint32) *sub {
	if l.topics != nil {
		if i, ok := l.topics[topic]; ok && l.subs[i].topic == topic && l.subs[i].stage >= granted {
			return &l.subs[i]
		}
		return nil
	}
	for i := range l.subs {
		if s := &l.subs[i]; s.topic == topic && s.stage >= granted {
			return s
		}
	}
	return nil
}

// word takes a frame that is not light.
func (l *link) word(payload []byte) error {
	frame, err := l.swarm.decoder.frame(l.codec, payload, proto.Exponents{})
	if err != nil {
		return err
	}
	switch body := frame.Body.(type) {
	case *pb.Frame_Ack:
		return l.granted(body.Ack)
	case *pb.Frame_Error:
		l.refused(body.Error)
	case *pb.Frame_Status:
		l.swarm.figures.Statuses++
		if s := l.find(body.Status.Topic); s != nil {
			s.status(proto.State(body.Status.State), body.Status.Final)
			if s.full != nil {
				s.full.book.ApplyStatus(&proto.Status{State: proto.State(body.Status.State), Reason: proto.Reason(body.Status.Reason)})
			}
		}
	case *pb.Frame_Drain:
		l.waitUntil = l.swarm.now + int64(body.Drain.ReconnectAfterMs)*1e6
	}
	return nil
}

// granted is told of an ack.
func (l *link) granted(a *pb.Ack) error {
	if a.Id > unsubscribeID {
		if i := int(a.Id-unsubscribeID) - 1; i < len(l.subs) && a.Ended && l.subs[i].stage == leaving {
			l.subs[i].stage = off
			if l.swarm.activity.step == StepSteady {
				l.toggle(i)
			}
		}
		return nil
	}
	i := int(a.Id) - 1 + int(a.Item)
	if a.Id == 0 || i >= len(l.subs) || l.subs[i].stage != asked {
		return fmt.Errorf("%w: an ack of what was not asked for (id %d, item %d)", errMessage, a.Id, a.Item)
	}
	s := &l.subs[i]
	s.topic, s.stage = a.Topic, granted
	if len(l.subs) > fewSubs {
		if l.topics == nil {
			l.topics = make(map[uint32]int32, len(l.subs))
		}
		l.topics[a.Topic] = int32(i)
	}
	if s.full != nil {
		s.full.exponents = proto.Exponents{Price: int8(a.PriceExponent), Qty: int8(a.QtyExponent)}
	}
	switch {
	case a.Resumed:
		if !s.resuming || a.Epoch != s.epoch {
			return fmt.Errorf("%w: resumed, which was not asked for", errMessage)
		}
		s.stage, s.begun = live, l.swarm.now
		l.swarm.figures.Resumed++
		l.settle(s)
	case s.resuming && proto.State(a.State) == proto.Stale && proto.Reason(a.Reason) == proto.ReasonBehind && a.Epoch == s.epoch:
		// This server has seen less than we have: what is missing follows, or a
		// snapshot, which replaces as ever.
		s.stage, s.begun = live, l.swarm.now
		l.swarm.figures.Behind++
		l.settle(s)
	case s.resuming:
		l.swarm.figures.Snapshotted++
		fallthrough
	default:
		if s.full != nil {
			s.full.book.Void()
		}
		if proto.State(a.State) == proto.Recovering {
			s.stage = void // the snapshot comes when there is one
			l.settle(s)
		}
	}
	return nil
}

// refused is told of an error frame.
func (l *link) refused(e *pb.Error) {
	w := l.swarm
	word := proto.ErrorCodeWord(e.Code)
	w.figures.Refused = count(w.figures.Refused, word, 1)
	from, to := int(e.Id)-1, 0
	switch {
	case e.Id == 0 || e.Id > unsubscribeID || from >= len(l.subs):
		return // an unsubscribe or a resync: nothing waits for it
	case e.Item != nil:
		from += int(*e.Item)
		to = from + 1
	default:
		to = min(from+itemsPerRequest, len(l.subs))
	}
	for i := from; i < min(to, len(l.subs)); i++ {
		s := &l.subs[i]
		if s.stage != asked {
			continue
		}
		if e.Retry == pb.Retry_RETRY_NEVER || e.Retry == pb.Retry_RETRY_UNSPECIFIED {
			w.give(fmt.Errorf("swarm: the server refuses %s: %s: %s", w.plan.Symbols[s.symbol], word, e.Message))
			s.stage = off
			l.settle(s)
			continue
		}
		w.laterSub(l, i, w.clock()+int64(max(e.RetryAfterMs, 10))*1e6)
	}
}

// resync asks for a snapshot after a fault.
func (l *link) resync(s *sub) {
	s.stage = amiss
	if s.full != nil {
		s.full.book.Void()
	}
	l.swarm.figures.Resyncs++
	l.request(&pb.Request{Id: unsubscribeID, Body: &pb.Request_Resync{Resync: &pb.Resync{Topics: []uint32{s.topic}}}})
}

// settle is told that a subscription has its first answer that counts.
func (l *link) settle(s *sub) {
	if !s.resuming {
		l.swarm.figures.Subscribe.Record(l.swarm.now - s.since)
	}
	s.since = 0
	if l.unsettled--; l.unsettled == 0 {
		l.settled()
	}
}

// newFull makes a book to be rebuilt.
func newFull() *full { return &full{book: client.NewBook()} }
