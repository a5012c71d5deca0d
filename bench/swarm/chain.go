package swarm

import (
	"github.com/depthcast/depthcast/proto"
)

// stage of a subscription.
type stage uint8

const (
	off     stage = iota // not subscribed
	asked                // subscribe was sent
	granted              // acknowledged; the snapshot is to come
	live                 // has a state that deltas chain to
	void                 // the server says that the book is recovering
	amiss                // a fault was found; a snapshot was asked for
	leaving              // unsubscribe was sent
	final                // the instrument has ended
)

// sub is one subscription as the light client knows it, and its rule
// (docs/protocol.md, "The client's rule").
type sub struct {
	symbol int32 // index in Plan.Symbols
	stage  stage
	depth  uint8 // index in Plan.Depths
	topic  uint32
	hash   uint32 // after the last frame applied
	hashed bool   // hash is known
	epoch  uint64
	mine   int64 // seq
	since  int64 // ns; when it was asked for; 0: nothing waits for its snapshot
	full   *full // nil: light

	resuming bool  // it was asked for with a resume
	begun    int64 // ns; when it became live: what was published before is not late, but caught up with
}

// unwanted reports whether there is nothing to subscribe to.
func (s *sub) unwanted() bool { return s.stage == off || s.stage == final }

// verdict on a frame.
type verdict uint8

const (
	applied verdict = iota
	ignored         // the rule says so
	wrong           // it breaks the protocol
)

// snapshot replaces everything.
func (s *sub) snapshot(h *head) verdict {
	s.epoch, s.mine, s.hash, s.hashed = h.epoch, h.seq, h.hash, h.hashed
	s.stage = live
	if h.state == proto.Recovering {
		s.stage = void
	}
	return applied
}

// delta follows the rule. what says in what way a wrong one is.
func (s *sub) delta(h *head) (v verdict, what Kind, text string) {
	switch s.stage {
	case live:
	case granted:
		return wrong, BrokenChain, "a delta before the snapshot"
	case void:
		return wrong, BrokenChain, "a delta of a book that is recovering"
	default:
		return ignored, "", ""
	}
	switch {
	case h.seq <= h.prevSeq:
		return wrong, BrokenChain, "a delta that does not go on"
	case h.seq <= s.mine:
		return ignored, "", ""
	case h.prevSeq > s.mine:
		return wrong, BrokenChain, "frames are missing before this delta"
	}
	s.mine, s.hash, s.hashed = h.seq, h.hash, h.hashed
	return applied, "", ""
}

// keepalive moves on over a time without changes.
func (s *sub) keepalive(h *head) (v verdict, what Kind, text string) {
	if s.stage != live || h.seq < s.mine {
		return ignored, "", ""
	}
	s.mine = h.seq
	if h.hashed && s.hashed && h.hash != s.hash {
		return wrong, WrongHash, "a keepalive with another hash than the last frame's"
	}
	return applied, "", ""
}

// status takes over the state. A snapshot, not a status, makes a book live again.
func (s *sub) status(state proto.State, isFinal bool) {
	switch {
	case isFinal:
		s.stage = final
	case state == proto.Recovering && s.stage == live:
		s.stage = void
	}
}

// witness remembers the hashes of the latest seqs of one symbol's view: whoever is
// shown the same seq of the same epoch, by whichever server, has the same state.
type witness [64]struct {
	epoch uint64
	seq   int64
	hash  uint32
	set   bool
}

// agrees reports whether nobody was shown another hash; had is what was.
func (w *witness) agrees(epoch uint64, seq int64, hash uint32) (had uint32, agree bool) {
	at := &w[uint64(seq)%uint64(len(w))]
	if at.set && at.epoch == epoch && at.seq == seq {
		return at.hash, at.hash == hash
	}
	at.epoch, at.seq, at.hash, at.set = epoch, seq, hash, true
	return hash, true
}
