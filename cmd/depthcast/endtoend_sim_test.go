package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/ingest/feed"
	"github.com/depthcast/depthcast/proto"
)

// limited is a producer that ends after a number of records, and waits on the way
// until pause is closed.
type limited struct {
	feed.Producer
	left    int
	pauseAt int // with so many left
	pause   <-chan struct{}
}

var errEnough = errors.New("that was enough")

func (p *limited) Produce(ctx context.Context, records []ingest.Record) error {
	if p.left < p.pauseAt {
		select {
		case <-p.pause:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	n := min(len(records), p.left)
	p.left -= n
	if err := p.Producer.Produce(ctx, records[:n]); err != nil {
		return err
	}
	if p.left == 0 {
		return errEnough
	}
	return nil
}

// simulate produces the records of a simulated market that p lets through, and waits
// until the broker has them.
func (l *lab) simulate(sim *feed.Sim, p limited) error {
	producer := l.producer()
	p.Producer = producer
	if err := sim.Run(l.ctx, &p); !errors.Is(err, errEnough) {
		return err
	}
	return producer.Flush(l.ctx)
}

// follower is a client of all symbols in one view, and of their trades.
type follower struct {
	codec  proto.Codec
	depth  uint32
	counts bool

	client *client.Client
	books  []*client.Subscription
	tapes  []*client.Subscription
	want   map[string]int64 // seq of each book at the end; read once ended is set
	ended  *atomic.Bool
	deltas int

	live    chan<- struct{} // is told when all books are
	follows bool
	last    map[*client.Subscription]uint64 // ordinal of the last trade
	trades  int
}

// run follows until every book is at its end.
func (f *follower) run(ctx context.Context) error {
	for event, err := range f.client.Events(ctx) {
		if err != nil {
			return err
		}
		switch e := event.(type) {
		case *client.BookLost:
			return fmt.Errorf("%s lost: %v", e.Sub.Item().Symbol, e.Cause)
		case *client.Disconnected:
			return fmt.Errorf("disconnected: %w", e.Err)
		case *client.Refused:
			return fmt.Errorf("refused: %v", e.Error)
		case *client.BookChanged:
			f.deltas++
		case *client.Traded:
			if err := f.traded(e); err != nil {
				return err
			}
		}
		if !f.follows && !slices.ContainsFunc(f.books, func(s *client.Subscription) bool { return s.Book().State() != proto.Live }) {
			f.follows = true
			f.live <- struct{}{}
		}
		if f.ended.Load() && !slices.ContainsFunc(f.books, f.behind) && !slices.ContainsFunc(f.tapes, f.behindTape) {
			return nil
		}
	}
	return nil
}

func (f *follower) behind(s *client.Subscription) bool {
	return s.Book().State() != proto.Live || s.Book().Seq() < f.want[s.Item().Symbol]
}

func (f *follower) behindTape(s *client.Subscription) bool {
	return f.last[s] < uint64(f.want["trades "+s.Item().Symbol])
}

// traded sees that ordinals rise by one, save where the server says what is missing.
func (f *follower) traded(e *client.Traded) error {
	last := f.last[e.Sub]
	if e.Trades.Missed > 0 && last > 0 {
		if e.Trades.MissedFirst != last+1 || e.Trades.MissedLast != last+e.Trades.Missed {
			return fmt.Errorf("%s: %d trades from %d to %d are said to be missing after %d",
				e.Sub.Item().Symbol, e.Trades.Missed, e.Trades.MissedFirst, e.Trades.MissedLast, last)
		}
		last = e.Trades.MissedLast
	}
	for _, x := range e.Trades.Trades {
		if last > 0 && x.Ordinal != last+1 {
			return fmt.Errorf("%s: trade %d follows %d", e.Sub.Item().Symbol, x.Ordinal, last)
		}
		last = x.Ordinal
		f.trades++
	}
	f.last[e.Sub] = last
	return nil
}

// Clients of a busy market, of either codec and of any view, in the clear and over
// TLS, end at the books that the server has, and get every trade or are told that
// it is missing.
func TestEndToEndClientsOfASimulatedMarketEndAtTheServersBooks(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) { simulatedMarket(t, secure) })
	}
}

func simulatedMarket(t *testing.T, secure bool) {
	l := newLab(t, 3)
	rate, records := 40_000, 25_000
	if underRace {
		rate, records = 8_000, 4_000
	}
	sim, err := feed.NewSim(feed.MarketConfig{Seed: 7, Rate: rate, Instruments: 20, SnapshotEvery: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var roots *x509.CertPool
	server := l.serve(func(r *readFlags, s *serverFlags) {
		r.MaxLag = 1 << 20 // how far it falls behind is the machine's matter
		if secure {
			s.TLSCert, s.TLSKey, roots = selfSigned(t)
		}
	})
	fed := make(chan error, 1)
	goOn := make(chan struct{})
	go func() { fed <- l.simulate(sim, limited{left: records, pauseAt: records - 500, pause: goOn}) }()
	for _, symbol := range sim.Symbols() {
		server.known(symbol)
	}

	ended := &atomic.Bool{}
	want := map[string]int64{}
	var all []*follower
	finished, live := make(chan error, 8), make(chan struct{}, 8)
	for i, depth := range []uint32{1, 10, 100, 0} {
		f := &follower{codec: proto.Codec(i % 2), depth: depth, counts: i >= 2, want: want, ended: ended, live: live, last: map[*client.Subscription]uint64{}}
		f.client, err = client.New(client.Config{URL: server.stream(), Codec: f.codec, TLS: &tls.Config{RootCAs: roots},
			DialTimeout: patience, PongTimeout: patience, AnswerTimeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		for _, symbol := range sim.Symbols() {
			f.books = append(f.books, subscribe(t, f.client, client.Item{Symbol: symbol, Depth: depth, Counts: f.counts}))
			f.tapes = append(f.tapes, subscribe(t, f.client, client.Item{Symbol: symbol, Channel: proto.ChannelTrades, Last: 1}))
		}
		all = append(all, f)
		go func() { finished <- f.run(l.ctx) }()
	}
	for range all {
		select {
		case <-live:
		case err := <-finished:
			t.Fatal(err)
		}
	}
	close(goOn)
	if err := <-fed; err != nil {
		t.Fatal(err)
	}
	server.caughtUpTo(l)
	for _, symbol := range sim.Symbols() {
		want[symbol] = server.book(symbol).Seq
		want["trades "+symbol] = server.lastTrade(symbol)
	}
	ended.Store(true)
	for range all {
		if err := <-finished; err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range all {
		f.compare(t, server)
	}
	refusedNothing(t, server)
}

// lastTrade is the ordinal of the symbol's last trade; 0: none.
func (r *running) lastTrade(symbol string) int64 {
	r.t.Helper()
	var s proto.Snapshot
	if err := r.hub.ReadView(proto.TopicKey{Symbol: symbol, Channel: proto.ChannelTrades}, &s); err != nil {
		r.t.Fatal(err)
	}
	if len(s.Trades) == 0 {
		return 0
	}
	return int64(s.Trades[len(s.Trades)-1].Ordinal)
}

// compare holds the books of f against the server's, level by level.
func (f *follower) compare(t *testing.T, server *running) {
	t.Helper()
	for _, sub := range f.books {
		symbol := sub.Item().Symbol
		var s proto.Snapshot
		key := proto.TopicKey{Symbol: symbol, Channel: proto.ChannelBook, View: proto.View{Depth: f.depth, Counts: f.counts}}
		if err := server.hub.ReadView(key, &s); err != nil {
			t.Fatal(err)
		}
		b := sub.Book()
		if b.Seq() != s.Seq || b.Epoch() != s.Epoch || b.Hash() != s.Hash {
			t.Errorf("%s depth %d: seq %d hash %08x, the server has %d %08x", symbol, f.depth, b.Seq(), b.Hash(), s.Seq, s.Hash)
		}
		if !slices.Equal(slices.Collect(b.Levels(proto.Bid)), s.Bids) || !slices.Equal(slices.Collect(b.Levels(proto.Ask)), s.Asks) {
			t.Errorf("%s depth %d counts %v: other levels than the server's", symbol, f.depth, f.counts)
		}
	}
	if f.deltas == 0 || f.trades == 0 {
		t.Errorf("depth %d: %d deltas, %d trades: nothing happened", f.depth, f.deltas, f.trades)
	}
}

// refusedNothing fails where a record of the server's log was refused.
func refusedNothing(t *testing.T, server *running) {
	t.Helper()
	for _, p := range server.ingest.Partitions() {
		if refused := p.Stats().Refused(); len(refused) > 0 {
			t.Errorf("%s: refused %v", p.ID(), refused)
		}
	}
}

// selfSigned writes a certificate for localhost and its key, and returns the
// files, and what to trust.
func selfSigned(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(cert)
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", keyDER), roots
}
