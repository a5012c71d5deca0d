package swarm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/depthcast/depthcast/bench/swarm/swarmtest"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

func bothCodecs(t *testing.T, f func(t *testing.T, codec func(*Plan))) {
	t.Run("proto", func(t *testing.T) { f(t, nil) })
	t.Run("json", func(t *testing.T) { f(t, func(p *Plan) { p.Codecs = []proto.Codec{proto.CodecJSON} }) })
}

func TestRightServerHasNoFault(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec func(*Plan)) {
		s := swarmtest.New(t, nil)
		w := rig(t, s, codec)
		for range 20 {
			s.Step()
		}
		const deltas = 20 * 6 * 2
		sum, faults := until(t, w, "the last delta", func(f *Figures) bool { return f.Deltas == deltas })
		if len(faults) > 0 || sum.Faults > 0 {
			t.Fatalf("%v", faults)
		}
		// Two of six connections rebuild their books: a snapshot and 20 deltas a topic.
		if sum.Updates != deltas || sum.Chained != deltas || sum.Rebuilt != 2*2*21 || sum.Snapshots != 12 {
			t.Errorf("%d updates, %d chained, %d rebuilt, %d snapshots", sum.Updates, sum.Chained, sum.Rebuilt, sum.Snapshots)
		}
		if sum.Published.Count() != deltas || sum.Venue.Count() != deltas || sum.Join.Count() != 6 || sum.Subscribe.Count() != 12 {
			t.Errorf("%d published, %d venue, %d join, %d subscribe", sum.Published.Count(), sum.Venue.Count(), sum.Join.Count(), sum.Subscribe.Count())
		}
	})
}

func TestMixedConnectionsHaveEachTheirForm(t *testing.T) {
	s := swarmtest.New(t, nil)
	asked := map[[2]uint32]int{} // by depth and interval; guarded by s.Mu, as Refuse is called
	s.Mu.Lock()
	s.Refuse = func(item *pb.SubscribeItem) *pb.Error {
		asked[[2]uint32{item.Depth, item.IntervalMs}]++
		return nil
	}
	s.Mu.Unlock()
	w := rig(t, s, func(p *Plan) {
		p.Conns, p.Verify = 60, 2
		p.Codecs, p.Depths, p.IntervalsMS = []proto.Codec{proto.CodecProto, proto.CodecJSON}, []uint32{5, 50}, []uint32{0, 100, 1000}
	})
	s.Step()
	if _, faults := until(t, w, "the delta", func(f *Figures) bool { return f.Deltas == 120 }); len(faults) > 0 {
		t.Error(faults)
	}
	forms := map[proto.Codec]int{}
	s.Each(func(c *swarmtest.Conn) { forms[c.Codec]++ })
	if forms[proto.CodecProto]+forms[proto.CodecJSON] != 60 || min(forms[proto.CodecProto], forms[proto.CodecJSON]) < 15 {
		t.Errorf("codecs %v", forms)
	}
	s.Mu.Lock()
	defer s.Mu.Unlock()
	for _, depth := range []uint32{5, 50} {
		for _, interval := range []uint32{0, 100, 1000} {
			if n := asked[[2]uint32{depth, interval}]; n < 5 {
				t.Errorf("depth %d, interval %d: %d of 120 subscriptions", depth, interval, n)
			}
		}
	}
}

func TestStandingsAreThoseOfTheRebuiltBooks(t *testing.T) {
	s := swarmtest.New(t, nil)
	w := rig(t, s, nil)
	s.Step()
	until(t, w, "the delta", func(f *Figures) bool { return f.Deltas == 12 })
	books := 0
	for _, row := range w.Standings() {
		if row.Hash != s.Hash() || row.Seq != s.Seq {
			t.Errorf("%+v", row)
		}
		books += row.Books
	}
	if books != 2*2 {
		t.Errorf("%d books", books)
	}
}

func TestWrongServerIsFoundOutWithEvidence(t *testing.T) {
	tests := []struct {
		name  string
		spoil func() func(conn int, d *proto.Delta) bool
		plan  func(*Plan)
		want  Kind
		full  bool
	}{
		{"wrong hash", always(func(conn int, d *proto.Delta) {
			d.Hash++
		}), func(p *Plan) { p.Verify = 1 }, WrongHash, true},
		{"wrong level", always(func(conn int, d *proto.Delta) {
			d.Bids[0].Qty++
		}), func(p *Plan) { p.Verify = 1 }, WrongHash, true},
		{"missing level", always(func(conn int, d *proto.Delta) {
			d.Bids = nil
		}), func(p *Plan) { p.Verify = 1 }, WrongHash, true},
		{"broken chain", always(func(conn int, d *proto.Delta) {
			d.PrevSeq++
		}), func(p *Plan) { p.Verify = 0 }, BrokenChain, false},
		{"backwards", always(func(conn int, d *proto.Delta) {
			d.PrevSeq = d.Seq
		}), func(p *Plan) { p.Verify = 0 }, BrokenChain, false},
		{"skipped frame", skipOne, func(p *Plan) { p.Verify = 0 }, BrokenChain, false},
		{"skipped frame, rebuilt", skipOne, func(p *Plan) { p.Verify = 1 }, BrokenChain, true},
		{"one is shown another hash", always(func(conn int, d *proto.Delta) {
			if conn == 1 {
				d.Hash++
			}
		}), func(p *Plan) { p.Verify = 0 }, Disagreement, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bothCodecs(t, func(t *testing.T, codec func(*Plan)) {
				s := swarmtest.New(t, nil)
				w := rig(t, s, func(p *Plan) {
					tt.plan(p)
					if codec != nil {
						codec(p)
					}
				})
				s.Step()
				until(t, w, "a delta", func(f *Figures) bool { return f.Deltas >= 12 })
				s.Mu.Lock()
				s.Spoil = tt.spoil()
				s.Mu.Unlock()
				s.Step()
				s.Step()
				_, faults := until(t, w, "a fault", func(f *Figures) bool { return f.Faults > 0 })
				f := faults[0]
				if f.Kind != tt.want || f.Full != tt.full {
					t.Fatalf("%v, full %v; want %s", f, f.Full, tt.want)
				}
				if f.Mine == 0 || f.Seq == 0 || f.Symbol == "" || len(f.Frames) == 0 {
					t.Fatalf("without evidence: %+v", f)
				}
				last := f.Frames[len(f.Frames)-1]
				if last.Hex+last.Text == "" || tt.full && len(f.Frames) < 3 {
					t.Errorf("%d frames, the last %+v", len(f.Frames), last)
				}
			})
		})
	}
}

// always changes every delta.
func always(change func(conn int, d *proto.Delta)) func() func(int, *proto.Delta) bool {
	return func() func(int, *proto.Delta) bool {
		return func(conn int, d *proto.Delta) bool {
			change(conn, d)
			return true
		}
	}
}

// skipOne leaves out the first delta of connection 1.
func skipOne() func(conn int, d *proto.Delta) bool {
	skipped := 0
	return func(conn int, d *proto.Delta) bool {
		if conn == 1 && skipped < 2 { // of both its topics
			skipped++
			return false
		}
		return true
	}
}

func TestDeltaOfARecoveringBookIsAFault(t *testing.T) {
	s := swarmtest.New(t, nil)
	w := rig(t, s, nil)
	s.Each(func(c *swarmtest.Conn) {
		for topic := range c.Topics {
			c.Write(c.Codec.AppendStatus(nil, proto.TopicForm{Topic: topic}, &proto.Status{Seq: s.Seq, State: proto.Recovering}))
		}
	})
	s.Step()
	_, faults := until(t, w, "a fault", func(f *Figures) bool { return f.Faults > 0 })
	if faults[0].Kind != BrokenChain {
		t.Errorf("%v", faults[0])
	}
}

func TestKeepaliveWithAnotherHashIsAFault(t *testing.T) {
	for _, verify := range []int{0, 1} {
		s := swarmtest.New(t, nil)
		w := rig(t, s, func(p *Plan) { p.Verify = verify })
		s.Each(func(c *swarmtest.Conn) {
			c.Write(c.Codec.AppendKeepalive(nil, proto.TopicForm{Topic: 1}, &proto.Keepalive{Seq: s.Seq + 9, Hash: s.Hash() + 1}))
		})
		_, faults := until(t, w, "a fault", func(f *Figures) bool { return f.Faults > 0 })
		if faults[0].Kind != WrongHash {
			t.Errorf("%v", faults[0])
		}
	}
}

func TestGarbageIsAFault(t *testing.T) {
	s := swarmtest.New(t, nil)
	w := rig(t, s, nil)
	s.Each(func(c *swarmtest.Conn) { c.Write([]byte{0xff, 0xff}) })
	_, faults := until(t, w, "a fault", func(f *Figures) bool { return f.Faults > 0 })
	if faults[0].Kind != BadMessage {
		t.Errorf("%v", faults[0])
	}
}

func TestBrokenConnectionsComeBackAndResume(t *testing.T) {
	s := swarmtest.New(t, nil)
	w := rig(t, s, func(p *Plan) { p.ResumeRate, p.ResumeGapMS = 1000, 1 })
	s.Step()
	begin(t, w, StepResume)
	until(t, w, "resumes", func(f *Figures) bool { return f.Resumed >= 20 && f.Resume.Count() >= 10 })
	begin(t, w, StepSteady)
	s.Step()
	if _, faults := until(t, w, "a delta", func(f *Figures) bool { return f.Deltas > 0 }); len(faults) > 0 {
		t.Errorf("%v", faults)
	}
}

func TestServerThatIsBehindFollowsWithoutASnapshot(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec func(*Plan)) {
		s := swarmtest.New(t, nil)
		w := rig(t, s, codec)
		s.Mu.Lock()
		s.Behind = true
		s.Mu.Unlock()
		s.Each(func(c *swarmtest.Conn) { _ = c.Net.Close() })
		joined(t, w)
		sum, _ := until(t, w, "the return", func(f *Figures) bool { return f.Behind == 12 })
		if sum.Snapshots > 12 {
			t.Errorf("%d snapshots", sum.Snapshots)
		}
		s.Step()
		if _, faults := until(t, w, "a delta", func(f *Figures) bool { return f.Deltas == 12 }); len(faults) > 0 {
			t.Errorf("%v", faults)
		}
	})
}

func TestConnectionsThatTheServerEndsAreCountedAndComeBack(t *testing.T) {
	s := swarmtest.New(t, nil)
	w := rig(t, s, nil)
	s.Each(func(c *swarmtest.Conn) {
		c.Frame(&pb.Frame{Body: &pb.Frame_Drain{Drain: &pb.Drain{ReconnectAfterMs: 1}}})
		_ = c.Net.Close()
	})
	joined(t, w)
	sum, faults := until(t, w, "the end", func(f *Figures) bool { return len(f.Ended) > 0 && f.Resumed+f.Snapshotted >= 12 })
	n := uint64(0)
	for _, ended := range sum.Ended {
		n += ended
	}
	if n != 6 || len(faults) > 0 {
		t.Errorf("ended %v; faults %v", sum.Ended, faults)
	}
}

func TestChurnLeavesAndJoins(t *testing.T) {
	s := swarmtest.New(t, nil)
	w := rig(t, s, func(p *Plan) { p.ChurnSubs, p.ChurnConns = 2000, 200 })
	begin(t, w, StepChurn)
	_, faults := until(t, w, "churn", func(f *Figures) bool {
		s.Step()
		return f.Unsubs > 30 && f.Subscribe.Count() > 30 && f.Opened > 10 && f.Deltas > 100
	})
	if len(faults) > 0 {
		t.Errorf("%v", faults)
	}
}

func TestStormConnectsEverybodyAnew(t *testing.T) {
	s := swarmtest.New(t, nil)
	w := rig(t, s, nil)
	w.Take()
	begin(t, w, StepStorm)
	joined(t, w)
	if sample := w.Take(); sample.Figures.Join.Count() != 6 || sample.Gauges.Joined != 6 || len(sample.Figures.Ended) > 0 {
		t.Errorf("%+v", sample)
	}
}

func TestFrozenReadersReadNothingAndSlowOnesLittle(t *testing.T) {
	for _, rate := range []int{0, 1 << 20} {
		s := swarmtest.New(t, nil)
		w := rig(t, s, func(p *Plan) { p.Slow, p.SlowBytes = 0.5, rate })
		if g := w.Take().Gauges; g.Open != 3 {
			t.Fatalf("%+v: the slow ones came too early", g)
		}
		begin(t, w, StepSlow)
		joined(t, w)
		w.Take()
		s.Step()
		sum, faults := until(t, w, "deltas", func(f *Figures) bool {
			return f.Updates == 3*2 && (rate == 0 || f.Slow == 3*2)
		})
		if len(faults) > 0 || rate == 0 && sum.Slow > 0 {
			t.Errorf("rate %d: %d to slow ones, faults %v", rate, sum.Slow, faults)
		}
	}
}

func TestSwarmSpeaksTLS(t *testing.T) {
	s := swarmtest.New(t, certificate(t))
	w := rig(t, s, nil)
	for range 50 {
		s.Step()
	}
	if _, faults := until(t, w, "deltas", func(f *Figures) bool { return f.Deltas == 50*12 }); len(faults) > 0 {
		t.Errorf("%v", faults)
	}
}

func certificate(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}}
}

func TestSymbolThatIsRefusedForGoodEndsTheRun(t *testing.T) {
	s := swarmtest.New(t, nil)
	s.Mu.Lock()
	s.Refuse = func(item *pb.SubscribeItem) *pb.Error {
		if item.Symbol != "1" {
			return nil
		}
		return &pb.Error{Code: pb.ErrorCode_ERROR_CODE_UNKNOWN_SYMBOL, Retry: pb.Retry_RETRY_NEVER}
	}
	s.Mu.Unlock()
	w, err := New(Plan{URLs: []string{s.URL()}, Symbols: []string{"0", "1"}, PerConn: 2, Conns: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	begin(t, w, StepRamp)
	select {
	case err := <-w.Failed():
		if !strings.Contains(err.Error(), "unknown_symbol") {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("it goes on")
	}
}

func TestSymbolThatIsNotReadyIsAskedForAgain(t *testing.T) {
	bothCodecs(t, func(t *testing.T, codec func(*Plan)) {
		s := swarmtest.New(t, nil)
		left := 5
		s.Mu.Lock()
		s.Refuse = func(*pb.SubscribeItem) *pb.Error {
			if left--; left < 0 {
				return nil
			}
			return &pb.Error{Code: pb.ErrorCode_ERROR_CODE_NOT_READY, Retry: pb.Retry_RETRY_AFTER, RetryAfterMs: 1}
		}
		s.Mu.Unlock()
		w := rig(t, s, codec)
		sum, faults := until(t, w, "the refusals", func(f *Figures) bool { return f.Refused["not_ready"] == 5 })
		if len(faults) > 0 || len(sum.Ended) > 0 || sum.Subscribe.Count() != 12 {
			t.Errorf("%v, ended %v, %d subscribed", faults, sum.Ended, sum.Subscribe.Count())
		}
	})
}

func TestHandshakeThatIsRefusedIsTriedAgain(t *testing.T) {
	s := swarmtest.New(t, nil)
	var mu sync.Mutex
	refused := 0
	gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if refused++; refused <= 3 {
			w.Header().Set("Retry-After", "0")
			http.Error(w, "full", http.StatusServiceUnavailable)
			return
		}
		target, err := url.Parse("http://" + strings.TrimPrefix(s.URL(), "ws://"))
		if err != nil {
			t.Error(err)
			return
		}
		httputil.NewSingleHostReverseProxy(target).ServeHTTP(w, r)
	}))
	defer gate.Close()
	w := rig(t, s, func(p *Plan) { p.URLs = []string{"ws://" + gate.Listener.Addr().String()}; p.Conns = 1; p.Verify = 1 })
	defer w.Close()
	sum := w.Take().Figures
	if sum.Refused["handshake 503"] != 3 || sum.Join.Count() != 1 {
		t.Errorf("refused %v, %d joined", sum.Refused, sum.Join.Count())
	}
}

func TestFiguresAndHistogramsTravelAsJSON(t *testing.T) {
	var f Figures
	f.Deltas, f.Ended = 5, map[string]uint64{"lapped": 2}
	for i := range int64(1000) {
		f.Published.Record(i * 1e6)
	}
	f.Published.Record(-5)
	b, err := json.Marshal(&f)
	if err != nil {
		t.Fatal(err)
	}
	var g Figures
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	g.Add(&f)
	if g.Deltas != 10 || g.Ended["lapped"] != 4 || g.Published.Count() != 2002 || g.Venue.Count() != 0 {
		t.Errorf("%+v", g)
	}
	if p := g.Published.At(50); p < 490e6 || p > 510e6 {
		t.Errorf("median %d", p)
	}
}

func TestSymbolsAreSpreadAsAsked(t *testing.T) {
	p := Plan{Symbols: make([]string, 100), PerConn: 20, Zipf: 1.1, Seed: 3}
	counts := make([]int, 100)
	for i := range 2000 {
		seen := map[int32]bool{}
		for _, s := range p.SymbolsOf(i) {
			if seen[s] {
				t.Fatalf("connection %d has symbol %d twice", i, s)
			}
			seen[s] = true
			counts[s]++
		}
	}
	if counts[0] < counts[50]*3 {
		t.Errorf("Zipf: %v", counts)
	}
	p.Zipf = 0
	clear(counts)
	for i := range 100 {
		for _, s := range p.SymbolsOf(i) {
			counts[s]++
		}
	}
	for s, n := range counts {
		if n != 20 {
			t.Errorf("uniform: symbol %d has %d", s, n)
		}
	}
}

func TestSubscriptionsLeftForLaterBeginWhenTold(t *testing.T) {
	s := swarmtest.New(t, nil)
	w := rig(t, s, func(p *Plan) { p.PerConn, p.Later = 3, 2 })
	first := w.Take()
	if first.Figures.Subscribes != 6 || first.Gauges.Joined != 6 {
		t.Fatalf("%d subscribed, %d joined at first", first.Figures.Subscribes, first.Gauges.Joined)
	}
	begin(t, w, StepMore)
	joined(t, w)
	more := w.Take()
	if more.Figures.Subscribes != 12 || more.Gauges.Joined != 6 {
		t.Errorf("%d subscribed, %d joined later", more.Figures.Subscribes, more.Gauges.Joined)
	}
	s.Step()
	until(t, w, "deltas of all", func(f *Figures) bool { return f.Deltas >= 18 })
}
