package swarm

import (
	"fmt"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// state takes a snapshot, delta or keepalive: the rule, the rebuilt book, the
// witness, the clock.
func (l *link) state(h *head, op ws.OpCode, payload []byte, size int) error {
	w := l.swarm
	s := l.find(h.topic)
	if s == nil {
		w.figures.Ignored++ // of a topic that was just left
		return nil
	}
	waited := s.since != 0
	if s.full != nil && h.kind == kindSnapshot {
		s.full.record.begin()
	}
	if s.full != nil {
		s.full.record.add(op, payload, w.now)
	}
	before := *s
	v, what, text := l.rule(s, h)
	if v == wrong {
		l.wrong(s, &before, h, &Fault{Kind: what, Text: text}, op, payload, size)
		return nil
	}
	if s.full != nil && (v == applied || h.kind == kindSnapshot) {
		if what, text := l.rebuild(s, h, payload); what != "" {
			l.wrong(s, &before, h, &Fault{Kind: what, Text: text}, op, payload, size)
			return nil
		}
	}
	if v == ignored {
		w.figures.Ignored++
		return nil
	}
	if h.hashed && h.kind != kindKeepalive && s.stage == live {
		w.figures.Agreed++
		if had, agree := w.witnesses[int(s.symbol)*len(w.plan.Depths)+int(s.depth)].agrees(s.epoch, h.seq, h.hash); !agree {
			l.wrong(s, &before, h, &Fault{Kind: Disagreement,
				Text: fmt.Sprintf("another connection was shown hash %08x at this seq", had)}, op, payload, size)
			return nil
		}
	}
	if h.kind == kindDelta {
		l.delivered(h, s.begun)
	} else if h.kind == kindSnapshot {
		s.begun = w.now
		if waited {
			l.settle(s)
		}
	}
	return nil
}

// rule applies the client's rule.
func (l *link) rule(s *sub, h *head) (verdict, Kind, string) {
	f := l.swarm.figures
	switch h.kind {
	case kindSnapshot:
		f.Snapshots++
		return s.snapshot(h), "", ""
	case kindDelta:
		f.Deltas++
		f.Chained++
		return s.delta(h)
	}
	f.Keepalives++
	return s.keepalive(h)
}

// rebuild gives the frame to the rebuilt book.
func (l *link) rebuild(s *sub, h *head, payload []byte) (Kind, string) {
	d := &l.swarm.decoder
	frame, err := d.frame(l.codec, payload, s.full.exponents)
	if err != nil {
		return BadMessage, err.Error()
	}
	if body, ok := frame.Body.(*pb.Frame_Snapshot); ok {
		s.full.exponents = proto.Exponents{Price: int8(body.Snapshot.PriceExponent), Qty: int8(body.Snapshot.QtyExponent)}
	}
	what, text := s.full.check(d, h, frame)
	l.swarm.figures.Rebuilt++
	return what, text
}

// delivered counts a delta, and its age if it was published since the subscription
// is live.
func (l *link) delivered(h *head, since int64) {
	w := l.swarm
	if l.slow && w.slowly {
		w.figures.Slow += h.updates()
		return
	}
	if h.published < since {
		w.figures.CaughtUp += h.updates()
		return
	}
	w.figures.Updates += h.updates()
	if h.published != 0 {
		w.figures.Published.Record(w.now - h.published)
	}
	if h.venue != 0 {
		w.figures.Venue.Record(w.now - h.venue)
	}
}

// wrong notes a fault with its evidence, and asks for a snapshot as clients do.
func (l *link) wrong(s, before *sub, h *head, f *Fault, op ws.OpCode, payload []byte, size int) {
	w := l.swarm
	f.Epoch, f.Mine, f.Hash = fmt.Sprintf("%016x", before.epoch), before.mine, fmt.Sprintf("%08x", before.hash)
	f.PrevSeq, f.Seq, f.Says = h.prevSeq, h.seq, fmt.Sprintf("%08x", h.hash)
	if s.full != nil {
		f.Frames, f.Lost = s.full.record.dumps(), s.full.record.lost
	} else {
		f.Frames = []Dump{dump(op, payload, size, w.now)}
	}
	w.fault(l, s, f)
	if s.since != 0 {
		l.settle(s)
	}
	if l.phase == ready {
		l.resync(s)
	}
}

// fault counts a fault and keeps the first ones.
func (w *Swarm) fault(l *link, s *sub, f *Fault) {
	w.figures.Faults++
	if len(w.faults) >= maxFaults {
		return
	}
	f.Time, f.Conn, f.Full = time.Unix(0, w.clock()).UTC(), l.index, w.plan.full(l.index)
	if s != nil {
		f.Symbol, f.Topic = w.plan.Symbols[s.symbol], s.topic
	}
	w.faults = append(w.faults, f)
	w.untold = append(w.untold, f)
}

// maxFaults bounds the faults that are kept with their evidence.
const maxFaults = 16
