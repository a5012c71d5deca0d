package fanout

import (
	"fmt"
	"testing"

	"github.com/depthcast/depthcast/proto/pb"
)

// TestRingsCountWhatTheirEntriesTake: with their frames in every form in which readers
// are sent them, so that --all-rings-bytes bounds memory whoever connects.
func TestRingsCountWhatTheirEntriesTake(t *testing.T) {
	type form struct {
		framing framing
		deflate uint8
	}
	for name, readers := range map[string][]form{
		"codecs":                {{framingProto, 0}, {framingJSON, 0}},
		"compressed":            {{framingProto, 0}, {framingJSON, 0}, {framingJSON, wholeWindow}},
		"all compressed":        {{framingProto, wholeWindow}, {framingJSON, wholeWindow}},
		"events":                {{framingProto, 0}, {framingJSON, 0}, {framingEvents, 0}},
		"events and compressed": {{framingProto, 0}, {framingJSON, wholeWindow}, {framingEvents, 0}},
	} {
		for _, levels := range []int{1, 5, 20, 200} {
			t.Run(fmt.Sprintf("%s/levels=%d", name, levels), func(t *testing.T) {
				l := newLiveTopics(t, 1, nil)
				topic, deltas := l.topics[0], busyDeltas(levels)
				on(l.hub, func(s *shard) {
					for _, r := range readers {
						c := s.unregistered(0)
						c.framing, c.deflate = r.framing, r.deflate
						if r.framing == framingEvents {
							c.events = &eventStream{}
						}
						s.conns = append(s.conns, c)
						s.subscribe(c, answer{}, &pb.SubscribeItem{Symbol: topic.key.Symbol})
					}
					publish := func(entries int) {
						for i := range entries {
							topic.Delta(deltas[i%len(deltas)])
							s.turn()
						}
					}
					publish(100) // the shard has what it works with
					heapInUse()  // pools give up what earlier tests left there at the second collection
					counted, begin := topic.ring.Bytes(), heapInUse()
					const entries = 500
					publish(entries)
					counted = (topic.ring.Bytes() - counted) / entries
					took := int64(heapInUse()-begin) / entries
					t.Logf("an entry counts for %d bytes and takes %d", counted, took)
					if took > counted || 2*took < counted {
						t.Errorf("an entry counts for %d bytes and takes %d", counted, took)
					}
					if made := topic.ring.Head(); s.stats.encoded.Load() < 2*made {
						t.Errorf("%d frames were made of %d entries", s.stats.encoded.Load(), made)
					}
				})
			})
		}
	}
}

// TestCompressedFramesCountWhereTheyAreKept: among the net deltas that are cached, and,
// once for all who are sent them, among what slow readers pin.
func TestCompressedFramesCountWhereTheyAreKept(t *testing.T) {
	l := newLiveTopics(t, 1, nil)
	topic := l.topics[0]
	on(l.hub, func(s *shard) {
		for _, d := range busyDeltas(20)[:4] {
			topic.Delta(d)
		}
		merge := func(to uint64) (*frame, int) {
			before := l.hub.merged.bytes
			f := s.mergedFrame(topic, 1, to, framingJSON)
			return f, l.hub.merged.bytes - before - mergedKeyBytes
		}
		if f, counted := merge(2); counted != len(f.bytes) {
			t.Errorf("%d bytes are counted for %d", counted, len(f.bytes))
		}
		topic.forms.note(framingJSON, true)
		f, counted := merge(4)
		d := s.deflated(f, wholeWindow)
		if took := len(f.bytes) + len(d.bytes); d == f || counted < took {
			t.Errorf("%d bytes are counted for %d", counted, took)
		}
		one, other := &conn{shard: s}, &conn{shard: s}
		one.begin(d, 1)
		other.begin(d, 1)
		one.land()
		if n := l.hub.pinned.Load(); n != int64(len(d.bytes)) {
			t.Errorf("%d bytes are pinned, want %d", n, len(d.bytes))
		}
		other.land()
		if n := l.hub.pinned.Load(); n != 0 {
			t.Errorf("%d bytes are pinned by nobody", n)
		}
	})
}
