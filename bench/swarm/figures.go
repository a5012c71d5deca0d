package swarm

import (
	"encoding/json"
	"fmt"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Latency is a histogram of times in ns, from 1 µs to 2 min, to three digits. The
// zero value is empty. It travels as JSON in HdrHistogram's own form.
type Latency struct{ h *hdr.Histogram }

const (
	leastLatency    = 1_000
	greatestLatency = 120_000_000_000
)

// Record takes one value; what is out of range counts as the nearest that is not.
// Clocks of two machines may disagree, so that a value may be below 0.
func (l *Latency) Record(ns int64) {
	if l.h == nil {
		l.h = hdr.New(leastLatency, greatestLatency, 3)
	}
	_ = l.h.RecordValue(min(max(ns, leastLatency), greatestLatency)) // within range
}

// Add takes all values of another.
func (l *Latency) Add(other *Latency) {
	if other.h == nil {
		return
	}
	if l.h == nil {
		l.h = hdr.New(leastLatency, greatestLatency, 3)
	}
	l.h.Merge(other.h)
}

// Count is how many values there are.
func (l *Latency) Count() int64 {
	if l.h == nil {
		return 0
	}
	return l.h.TotalCount()
}

// At returns the value below which p percent are, in ns; 0 of none.
func (l *Latency) At(p float64) int64 {
	if l.h == nil {
		return 0
	}
	return l.h.ValueAtPercentile(p)
}

// Max is the greatest value.
func (l *Latency) Max() int64 {
	if l.h == nil {
		return 0
	}
	return l.h.Max()
}

// MarshalJSON implements json.Marshaler.
func (l Latency) MarshalJSON() ([]byte, error) {
	if l.h == nil {
		return []byte("null"), nil
	}
	b, err := l.h.Encode(hdr.V2CompressedEncodingCookieBase)
	if err != nil {
		return nil, err
	}
	return json.Marshal(string(b))
}

// UnmarshalJSON implements json.Unmarshaler.
func (l *Latency) UnmarshalJSON(b []byte) error {
	var text *string
	if err := json.Unmarshal(b, &text); err != nil || text == nil {
		l.h = nil
		return err
	}
	h, err := hdr.Decode([]byte(*text))
	if err != nil {
		return fmt.Errorf("swarm: histogram: %w", err)
	}
	l.h = h
	return nil
}

// Figures are what a swarm counted during some time.
type Figures struct {
	Bytes      uint64 // received, of TLS decrypted
	Messages   uint64 // deltas, snapshots, keepalives and all others
	Deltas     uint64
	Updates    uint64 // entries of the server's rings that the deltas stand for: merged ones count as what they merge
	CaughtUp   uint64 // updates that were published before the subscription began: they follow its snapshot
	Snapshots  uint64
	Keepalives uint64
	Statuses   uint64
	Ignored    uint64 // frames that the client's rule ignores
	Slow       uint64 // updates of the slow readers, which are in no other figure of deltas

	Chained uint64 // deltas whose place in the chain was checked
	Rebuilt uint64 // frames after which a rebuilt book's hash was compared
	Agreed  uint64 // hashes compared with those that other connections were shown
	Faults  uint64
	Resyncs uint64 // snapshots asked for after a fault

	Opened      uint64 // connections open for messages
	Resumed     uint64 // subscriptions that went on without a snapshot
	Behind      uint64 // subscriptions that came back to a server which had seen less than they
	Snapshotted uint64 // subscriptions that asked to resume and got a snapshot
	Subscribes  uint64
	Unsubs      uint64

	Ended   map[string]uint64 // connections that the server or the network ended, by reason
	Refused map[string]uint64 // handshakes and requests refused, by status or code

	Published Latency // from the server's publishing to receipt
	Venue     Latency // from the venue's time to receipt
	Join      Latency // from connecting to the last snapshot of a connection
	Subscribe Latency // from a subscribe to its snapshot
	Resume    Latency // from connecting again to the last resume or snapshot
}

// Add adds what was counted at another time or elsewhere.
func (f *Figures) Add(o *Figures) {
	for _, c := range []struct{ to, from *uint64 }{
		{&f.Bytes, &o.Bytes}, {&f.Messages, &o.Messages}, {&f.Deltas, &o.Deltas}, {&f.Updates, &o.Updates}, {&f.CaughtUp, &o.CaughtUp},
		{&f.Snapshots, &o.Snapshots}, {&f.Keepalives, &o.Keepalives}, {&f.Statuses, &o.Statuses},
		{&f.Ignored, &o.Ignored}, {&f.Slow, &o.Slow}, {&f.Chained, &o.Chained}, {&f.Rebuilt, &o.Rebuilt},
		{&f.Agreed, &o.Agreed}, {&f.Faults, &o.Faults}, {&f.Resyncs, &o.Resyncs}, {&f.Opened, &o.Opened},
		{&f.Resumed, &o.Resumed}, {&f.Behind, &o.Behind}, {&f.Snapshotted, &o.Snapshotted}, {&f.Subscribes, &o.Subscribes}, {&f.Unsubs, &o.Unsubs},
	} {
		*c.to += *c.from
	}
	f.Ended, f.Refused = addCounts(f.Ended, o.Ended), addCounts(f.Refused, o.Refused)
	f.Published.Add(&o.Published)
	f.Venue.Add(&o.Venue)
	f.Join.Add(&o.Join)
	f.Subscribe.Add(&o.Subscribe)
	f.Resume.Add(&o.Resume)
}

func addCounts(to, from map[string]uint64) map[string]uint64 {
	for name, n := range from {
		to = count(to, name, n)
	}
	return to
}

func count(in map[string]uint64, name string, n uint64) map[string]uint64 {
	if in == nil {
		in = make(map[string]uint64)
	}
	in[name] += n
	return in
}

// Gauges are what a swarm is at a moment.
type Gauges struct {
	Want   int // connections wanted now
	Open   int
	Joined int // of these, have all their snapshots
}

// Add adds those of another swarm.
func (g *Gauges) Add(o Gauges) {
	g.Want += o.Want
	g.Open += o.Open
	g.Joined += o.Joined
}

// Sample is what Take returns.
type Sample struct {
	Figures Figures
	Gauges  Gauges
	Faults  []*Fault // with evidence; the first ones of the run only
}
