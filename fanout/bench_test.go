package fanout

import (
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/depthcast/depthcast/fanout/poll"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// benchRig is a hub whose shards do not run: the benchmark does their turns.
func benchRig(b testing.TB, sockets poll.Sockets) (*Hub, *testBook) {
	books := newTestBooks(btc)
	h, err := New(Config{Books: books, Shards: 1, Sockets: sockets, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = h.shards[0].poller.Close() })
	return h, books.books[btc]
}

// delta is one that the book's views are told again and again, with rising seqs.
func delta(levels int) *proto.Delta {
	d := &proto.Delta{Hash: 1, Times: proto.Times{Venue: 1_700_000_000_000_000_000, Kafka: 1_700_000_000_000_000_000}}
	for i := range levels {
		d.Bids = append(d.Bids, proto.Level{Price: 6_160_201 - int64(i), Qty: 167_177_000 + int64(i)})
	}
	return d
}

// on runs f on the shard's goroutine and waits.
func on(h *Hub, f func(s *shard)) { h.ask(0, f) }

// subscribeN gives the shard n connections over descriptors, subscribed to btc and
// past their snapshot.
func subscribeN(h *Hub, fds []int) {
	on(h, func(s *shard) {
		for _, fd := range fds {
			c := s.unregistered(fd)
			s.conns = append(s.conns, c)
			s.load.Add(1)
			h.conns.Add(1)
			s.subscribe(c, answer{}, &pb.SubscribeItem{Symbol: btc})
		}
		s.turn()
	})
}

// unregistered makes a connection that the poller does not know.
func (s *shard) unregistered(fd int) *conn {
	c := &conn{shard: s, fd: int32(fd), heard: s.since, place: uint32(len(s.conns))}
	c.transport = (*plain)(c)
	return c
}

// noTransport leaves the descriptor open.
type noTransport struct{ transport }

func (noTransport) Close() error { return nil }

func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{0, 1, 1000, 18_000} {
		b.Run(fmt.Sprintf("subscribers=%d", n), func(b *testing.B) {
			h, book := benchRig(b, null{})
			t, err := h.acquire(proto.TopicKey{Symbol: btc, Channel: proto.ChannelBook})
			if err != nil {
				b.Fatal(err)
			}
			subscribeN(h, nowhere(n))
			// The shard stands still: what is measured is the writer's part.
			held, release := make(chan struct{}), make(chan struct{})
			h.shards[0].do(func() { close(held); <-release })
			<-held
			d := delta(5)
			book.books.mu.Lock()
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				d.Seq = int64(i)
				t.Delta(d)
			}
			b.StopTimer()
			book.books.mu.Unlock()
			close(release)
		})
	}
}

// null takes everything at once.
type null struct{}

func (null) Send(_ int, b []byte) (int, poll.Class, unix.Errno) { return len(b), poll.OK, 0 }
func (null) Recv(int, []byte) (int, poll.Class, unix.Errno)     { return 0, poll.Again, unix.EAGAIN }
func (null) Close(int) error                                    { return nil }

func TestDeliveryAllocatesNothing(t *testing.T) {
	h, _ := benchRig(t, null{})
	const n = 1000
	fds := make([]int, n)
	for i := range fds {
		fds[i] = 1 << 20
	}
	subscribeN(h, fds)
	d := delta(5)
	for _, k := range []int{1, 4} {
		on(h, func(s *shard) {
			topic := s.feeds[proto.TopicKey{Symbol: btc, Channel: proto.ChannelBook}].topic
			before := s.stats.frames.Load()
			turns := 0
			allocs := testing.AllocsPerRun(50, func() {
				turns++
				for range k {
					d.Seq++
					topic.Delta(d)
				}
				s.turn()
			})
			if got := s.stats.frames.Load() - before; got != uint64(turns*n*k) {
				t.Errorf("k=%d: %d frames delivered, want %d", k, got, turns*n*k)
			}
			// Each entry is one allocation, each frame one for its codec, and levels and
			// snapshots share theirs; none may come from the n deliveries.
			if allocs > float64(4*k) {
				t.Errorf("k=%d: %v allocations for %d deliveries", k, allocs, n*k)
			}
		})
	}
}

// BenchmarkDeliver delivers to N loopback connections, and beside it does the same
// with a bare loop of sendto: "deliver" to "loop" is the ratio that counts.
func BenchmarkDeliver(b *testing.B) {
	const n = 4500
	for _, k := range []int{1, 16} {
		b.Run(fmt.Sprintf("k=%d/loop", k), func(b *testing.B) {
			servers, drain := sockets(b, n)
			frame := make([]byte, 102*k)
			rounds(b, n*k, func() {
				for _, fd := range servers {
					poll.Send(fd, frame)
				}
			}, drain)
		})
		b.Run(fmt.Sprintf("k=%d/deliver", k), func(b *testing.B) {
			servers, drain := sockets(b, n)
			h, _ := benchRig(b, poll.Kernel{})
			subscribeN(h, servers)
			drain()
			d := delta(5)
			on(h, func(s *shard) {
				topic := s.feeds[proto.TopicKey{Symbol: btc, Channel: proto.ChannelBook}].topic
				rounds(b, n*k, func() {
					for range k {
						d.Seq++
						topic.Delta(d)
					}
					s.turn()
				}, drain)
			})
		})
	}
}

// rounds times round b.N/messages times, draining the far ends in between.
func rounds(b *testing.B, messages int, round, drain func()) {
	b.ReportAllocs()
	b.ResetTimer()
	for sent := 0; sent < b.N; sent += messages {
		round()
		b.StopTimer()
		drain()
		b.StartTimer()
	}
}

// sockets returns the server's ends of n loopback connections, and what empties the
// far ends.
func sockets(b *testing.B, n int) (servers []int, drain func()) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	detach := func(conn net.Conn, err error) int {
		if err != nil {
			b.Fatal(err)
		}
		_ = conn.(*net.TCPConn).SetLinger(0) // so that its port is free at once
		fd, err := poll.Detach(conn.(*net.TCPConn))
		if err != nil {
			b.Fatal(err)
		}
		return fd
	}
	var clients []int
	for range n {
		clients = append(clients, detach(net.Dial("tcp", l.Addr().String())))
		servers = append(servers, detach(l.Accept()))
	}
	b.Cleanup(func() {
		for i := range servers {
			_ = poll.Close(servers[i])
			_ = poll.Close(clients[i])
		}
	})
	buf := make([]byte, 64<<10)
	return servers, func() {
		for _, fd := range clients {
			for {
				if _, class, _ := poll.Recv(fd, buf); class != poll.OK {
					break
				}
			}
		}
	}
}

// BenchmarkIdleConnection reports the heap that a connection with one subscription
// keeps, its entry in the poller included.
func BenchmarkIdleConnection(b *testing.B) {
	const n = 4000
	for range b.N {
		h, _ := benchRig(b, poll.Kernel{})
		servers, _ := sockets(b, n)
		before := heapInUse()
		for _, fd := range servers {
			if err := h.Accept(Accepted{FD: fd, Remote: "127.0.0.1:65535"}); err != nil {
				b.Fatal(err)
			}
		}
		on(h, func(s *shard) {
			s.turn()
			for _, c := range s.conns {
				s.subscribe(c, answer{}, &pb.SubscribeItem{Symbol: btc})
			}
			s.turn()
		})
		b.ReportMetric(float64(heapInUse()-before)/n, "B/conn")
		b.ReportMetric(float64(unsafe.Sizeof(conn{})), "B/struct")
		b.ReportMetric(float64(unsafe.Sizeof(subscription{})), "B/subscription")
		on(h, func(s *shard) {
			for len(s.conns) > 0 {
				c := s.conns[0]
				c.transport = noTransport{}
				s.close(c)
			}
		})
	}
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
