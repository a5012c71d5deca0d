package swarm

import (
	"fmt"

	googleproto "google.golang.org/protobuf/proto"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// full is a subscription that rebuilds its book. The book is the Go client's; what
// it is given is decoded by the generated code, so that the light reader, whose
// word counts on all other connections, is held to it as well.
type full struct {
	book      *client.Book
	record    record
	exponents proto.Exponents // of the topic; JSON needs them
}

// decoder decodes whole frames. Its frame and levels are used again.
type decoder struct {
	snapshot proto.Snapshot
	delta    proto.Delta
}

// frame decodes one message; exponents are those of its topic, for JSON.
func (d *decoder) frame(codec proto.Codec, payload []byte, exponents proto.Exponents) (*pb.Frame, error) {
	if codec == proto.CodecJSON {
		f, err := proto.DecodeJSONFrame(payload, func(uint32) (proto.Exponents, bool) { return exponents, true })
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errMessage, err)
		}
		return f, nil
	}
	f := &pb.Frame{}
	if err := googleproto.Unmarshal(payload, f); err != nil {
		return nil, fmt.Errorf("%w: %w", errMessage, err)
	}
	return f, nil
}

// check gives the frame to the book and says what is wrong with it, if anything.
func (f *full) check(d *decoder, h *head, frame *pb.Frame) (Kind, string) {
	var outcome client.Outcome
	var says head
	before := f.book.Seq()
	switch body := frame.Body.(type) {
	case *pb.Frame_Snapshot:
		s := body.Snapshot
		says = head{kind: kindSnapshot, topic: s.Topic, epoch: s.Epoch, seq: s.Seq, hash: s.Hash, state: proto.State(s.State)}
		says.setTimes(s.Ts)
		if err := d.setSnapshot(s); err != nil {
			return BadMessage, err.Error()
		}
		outcome = f.book.ApplySnapshot(&d.snapshot)
	case *pb.Frame_Delta:
		b := body.Delta
		says = head{kind: kindDelta, topic: b.Topic, prevSeq: b.PrevSeq, seq: b.Seq, hash: b.Hash, merged: b.Merged}
		says.setTimes(b.Ts)
		if err := d.setDelta(b); err != nil {
			return BadMessage, err.Error()
		}
		outcome = f.book.ApplyDelta(&d.delta)
	case *pb.Frame_Keepalive:
		k := body.Keepalive
		says = head{kind: kindKeepalive, topic: k.Topic, seq: k.Seq, hash: k.Hash}
		outcome = f.book.ApplyKeepalive(&proto.Keepalive{Seq: k.Seq, Hash: k.Hash})
	default:
		return BadMessage, fmt.Sprintf("the light reader takes it for a %v, the generated code for %T", h.kind, frame.Body)
	}
	says.hashed = true
	if says != *h {
		return BadMessage, fmt.Sprintf("the light reader read %+v, the generated code %+v", *h, says)
	}
	switch outcome {
	case client.Mismatch:
		return WrongHash, fmt.Sprintf("the book has hash %08x, the frame says %08x", f.book.Hash(), h.hash)
	case client.Gap:
		return BrokenChain, fmt.Sprintf("the book is at %d, the frame follows %d", before, h.prevSeq)
	}
	return "", ""
}

func (h *head) setTimes(ts *pb.Times) { h.venue, h.published = ts.GetVenue(), ts.GetPublished() }

func (d *decoder) setSnapshot(s *pb.Snapshot) (err error) {
	bids, asks := d.snapshot.Bids[:0], d.snapshot.Asks[:0]
	d.snapshot = proto.Snapshot{
		Symbol: s.Symbol, Epoch: s.Epoch, Seq: s.Seq, State: proto.State(s.State), Reason: proto.Reason(s.StateReason),
		Phase: proto.Phase(s.Phase), Hash: s.Hash, Exponents: proto.Exponents{Price: int8(s.PriceExponent), Qty: int8(s.QtyExponent)},
		Partial: s.Partial, Locked: s.Locked, Crossed: s.Crossed,
	}
	if d.snapshot.Bids, err = proto.AppendLevels(bids, s.Bids); err == nil {
		d.snapshot.Asks, err = proto.AppendLevels(asks, s.Asks)
	}
	return err
}

func (d *decoder) setDelta(b *pb.Delta) (err error) {
	bids, asks := d.delta.Bids[:0], d.delta.Asks[:0]
	d.delta = proto.Delta{PrevSeq: b.PrevSeq, Seq: b.Seq, Hash: b.Hash, Merged: b.Merged}
	if d.delta.Bids, err = proto.AppendLevels(bids, b.Bids); err == nil {
		d.delta.Asks, err = proto.AppendLevels(asks, b.Asks)
	}
	return err
}
