package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	runtimemetrics "runtime/metrics"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"

	"github.com/depthcast/depthcast/fanout"
	"github.com/depthcast/depthcast/proto"
)

// fanoutBenchCmd is `depthcast fanout-bench`: the fan-out alone, on one symbol that
// changes on command. `bench delivery` starts it. It prints "listening HOST:PORT",
// takes "publish K" or "publish K AT" (AT is the venue's time, ns) and "stats" on its standard input, and ends with that.
type fanoutBenchCmd struct {
	Listen     string `help:"Address for clients." default:"127.0.0.1:0" placeholder:"HOST:PORT"`
	Shards     int    `help:"Event loops. 0: one a processor." default:"0"`
	FrameBytes int    `help:"Size of a delta as a protobuf frame, its header included: 80 to 127." default:"102"`
	CPUProfile string `name:"cpu-profile" help:"File for a CPU profile of the whole run." type:"path" placeholder:"FILE"`
}

func (c *fanoutBenchCmd) Run(stdout io.Writer) error {
	book, err := newBenchBook(c.FrameBytes)
	if err != nil {
		return err
	}
	reserveProcessors(c.Shards)
	hub, err := fanout.New(fanout.Config{Books: book, Shards: c.Shards, MaxConns: spareDescriptors(httpPlaces, 0)})
	if err != nil {
		return err
	}
	l, err := listen(c.Listen, "--listen", false)
	if err != nil {
		return err
	}
	defer l.Close()
	server := httpServer(clientHandler(hub, &fanout.StreamHandler{Hub: hub, Log: slog.Default()}))
	go func() {
		if err := server.Serve(l); !errors.Is(err, net.ErrClosed) {
			slog.Error("cannot accept", "err", err)
		}
	}()
	fmt.Fprintln(stdout, "listening", l.Addr())
	if c.CPUProfile != "" {
		f, err := os.Create(c.CPUProfile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	return book.obey(stdout, hub)
}

// benchSymbol is the only one.
const benchSymbol = "SIM:BENCH"

// benchBook is a book of a few bids, whose quantities change.
type benchBook struct {
	// mu is the partition's lock; it guards the rest.
	mu     sync.Mutex
	topics map[*fanout.Topic]struct{}
	wakes  fanout.Wakes
	state  proto.Snapshot
	delta  proto.Delta
}

const (
	benchSeq   = 1 << 40 // its varint is as long after any number of messages
	benchPrice = 6_160_201
)

// newBenchBook makes a book whose deltas take so many bytes in a frame.
func newBenchBook(frameBytes int) (*benchBook, error) {
	now := time.Now().UnixNano()
	for levels := 1; levels <= 16; levels++ {
		// A quantity's varint grows with its bits.
		for shift := 1; shift < 60; shift += 7 {
			b := &benchBook{topics: make(map[*fanout.Topic]struct{})}
			for i := range levels {
				// The first fills up what the others leave over.
				qty := int64(1) << 20
				if i == 0 {
					qty = 1 << shift
				}
				b.delta.Bids = append(b.delta.Bids, proto.Level{Price: benchPrice - int64(i), Qty: qty})
			}
			b.delta.PrevSeq, b.delta.Seq = benchSeq, benchSeq+1
			b.delta.Times = proto.Times{Venue: now, Kafka: now, Published: now}
			b.change()
			if len(proto.AppendDelta(nil, proto.TopicForm{Topic: 1}, &b.delta))+2 != frameBytes {
				continue
			}
			b.state = proto.Snapshot{
				Symbol: benchSymbol, Epoch: 1, Seq: benchSeq, State: proto.Live, Phase: proto.Continuous,
				Exponents: proto.Exponents{Price: -2, Qty: -8},
			}
			b.delta.Seq = benchSeq
			return b, nil
		}
	}
	return nil, fmt.Errorf("no delta takes --frame-bytes=%d", frameBytes)
}

// change changes every level, and nothing of the sizes.
func (b *benchBook) change() {
	for i := range b.delta.Bids {
		b.delta.Bids[i].Qty ^= 1
	}
	b.delta.Hash = proto.HashLevels(b.delta.Bids, nil)
}

// publish tells the topics of k records, made at a time of the venue's; 0: now.
func (b *benchBook) publish(k int, venue int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.wakes.Flush()
	for range k {
		b.delta.Seq++
		b.delta.Times.Kafka = time.Now().UnixNano()
		b.delta.Times.Venue = venue
		if venue == 0 {
			b.delta.Times.Venue = b.delta.Times.Kafka
		}
		b.change()
		b.state.Seq = b.delta.Seq
		for t := range b.topics {
			t.Delta(&b.delta)
		}
	}
}

// obey carries out the commands on the standard input until it ends.
func (b *benchBook) obey(stdout io.Writer, hub *fanout.Hub) error {
	// Through the runtime's poller: a read that blocks would keep a P from the shards.
	if err := syscall.SetNonblock(0, true); err != nil {
		return err
	}
	samples := []runtimemetrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/allocs:bytes"}}
	commands := bufio.NewScanner(os.NewFile(0, "stdin"))
	for commands.Scan() {
		var k int
		var at int64
		if commands.Text() == "stats" {
			runtimemetrics.Read(samples)
			sent := hub.Stats()
			fmt.Fprintf(stdout, "allocated %d objects %d bytes, sent %d frames in %d calls\n",
				samples[0].Value.Uint64(), samples[1].Value.Uint64(), sent.Frames, sent.Sends)
		} else if n, err := fmt.Sscanf(commands.Text(), "publish %d %d", &k, &at); n == 0 { // without a time n is 1
			return fmt.Errorf("not a command: %q: %w", commands.Text(), err)
		} else {
			b.publish(k, at)
		}
	}
	return commands.Err()
}

// OpenView implements fanout.Books.
func (b *benchBook) OpenView(key proto.TopicKey, t *fanout.Topic) error {
	if key.Symbol != benchSymbol {
		return proto.ErrUnknownSymbol
	}
	if key.Channel != proto.ChannelBook {
		return proto.ErrUnknownChannel
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.topics[t] = struct{}{}
	t.Opened(&benchView{book: b, topic: t}, &b.wakes)
	return nil
}

// ReadView implements fanout.Books.
func (b *benchBook) ReadView(key proto.TopicKey, s *proto.Snapshot) error {
	if key.Symbol != benchSymbol {
		return proto.ErrUnknownSymbol
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(s)
	return nil
}

// CaughtUp implements fanout.Books.
func (b *benchBook) CaughtUp() bool { return true }

// Symbols implements fanout.Books.
func (b *benchBook) Symbols() []proto.SymbolInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	return []proto.SymbolInfo{{
		Symbol: benchSymbol, State: b.state.State, Phase: b.state.Phase, Epoch: b.state.Epoch,
		Seq: b.state.Seq, Exponents: b.state.Exponents,
	}}
}

func (b *benchBook) fill(s *proto.Snapshot) {
	bids := append(s.Bids[:0], b.delta.Bids...)
	*s = b.state
	s.Bids, s.Hash, s.Times = bids, b.delta.Hash, b.delta.Times
}

type benchView struct {
	book  *benchBook
	topic *fanout.Topic
}

func (v *benchView) Snapshot(s *proto.Snapshot) { v.book.fill(s) }

func (v *benchView) Close() {
	v.book.mu.Lock()
	defer v.book.mu.Unlock()
	delete(v.book.topics, v.topic)
}
