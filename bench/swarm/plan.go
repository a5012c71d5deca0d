package swarm

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/depthcast/depthcast/proto"
)

// ErrPlan marks a plan that cannot work.
var ErrPlan = errors.New("swarm: bad plan")

// Dialect is what a connection says after it is connected.
type Dialect string

const (
	Depthcast  Dialect = ""           // upgrade, subscribe: the whole protocol
	Frames     Dialect = "frames"     // nothing, not even HTTP: deltas come at once
	WebSocket  Dialect = "websocket"  // upgrade: deltas come at once
	Centrifuge Dialect = "centrifuge" // upgrade, connect: deltas come inside of pushes
)

// Plan is what a swarm does: a part of a run, or all of it. It is sent to other
// processes as JSON.
type Plan struct {
	URLs     []string // ws:// or wss://; connection i goes to URLs[i mod len]. Required
	Insecure bool     // take any certificate
	Token    string   // goes with every handshake, as "Authorization: Bearer"; empty: none
	Dialect  Dialect

	// Of several codecs, depths or intervals each connection, or subscription, has
	// one by chance. Default: protobuf, all levels, no interval.
	Codecs      []proto.Codec // of connections
	Depths      []uint32      // of subscriptions; 0: all levels
	IntervalsMS []uint32      // of subscriptions

	Symbols []string
	PerConn int     // subscriptions of a connection. Default 1
	Later   int     // of these, are not begun before StepMore
	Zipf    float64 // exponent of the symbols' popularity; 0: all alike
	Drop    bool    // policy drop instead of conflate

	First, Conns int      // connections First to First+Conns-1 of the run
	RampPerS     float64  // connections opened a second; 0: all at once
	Verify       int      // one connection in so many rebuilds its books; 0: none
	Count        bool     // count deltas and do not look into them (closed loop)
	Sources      []string // local addresses, each of PerSource connections in turn; none: the kernel's choice
	PerSource    int

	Slow        float64 // share of connections that read slowly, beginning with StepSlow
	SlowBytes   int     // what each of them reads a second; 0: nothing
	SlowBuffer  int     // bytes of their receive buffers
	ChurnSubs   float64 // subscribes and unsubscribes a second
	ChurnConns  float64 // connections closed and opened anew a second
	ResumeRate  float64 // connections broken a second
	ResumeGapMS int     // how long each of these stays away
	Seed        uint64

	ranks []float64 // running sums of the symbols' weights; nil until they are needed
}

// Validate fills in the defaults and refuses what cannot work.
func (p *Plan) Validate() error {
	if p.PerConn == 0 {
		p.PerConn = 1
	}
	if p.PerSource == 0 {
		p.PerSource = 16_000
	}
	if len(p.Codecs) == 0 {
		p.Codecs = []proto.Codec{proto.CodecProto}
	}
	if len(p.Depths) == 0 {
		p.Depths = []uint32{0}
	}
	if len(p.IntervalsMS) == 0 {
		p.IntervalsMS = []uint32{0}
	}
	switch {
	case strings.ContainsAny(p.Token, "\r\n"):
		return fmt.Errorf("%w: a token of several lines", ErrPlan)
	case p.Conns < 1 || p.First < 0 || len(p.URLs) == 0:
		return fmt.Errorf("%w: no connections, or nowhere to connect", ErrPlan)
	case p.Later < 0 || p.Later >= p.PerConn:
		return fmt.Errorf("%w: %d of %d subscriptions are not begun at first", ErrPlan, p.Later, p.PerConn)
	case p.Dialect == Depthcast && (p.PerConn < 1 || p.PerConn > len(p.Symbols)):
		return fmt.Errorf("%w: %d subscriptions a connection of %d symbols", ErrPlan, p.PerConn, len(p.Symbols))
	case min(p.Zipf, p.RampPerS, p.Slow, p.ChurnSubs, p.ChurnConns, p.ResumeRate) < 0 || p.Slow > 1:
		return fmt.Errorf("%w: a rate or share out of range", ErrPlan)
	case max(len(p.Depths), len(p.IntervalsMS), len(p.Codecs)) > mostMixed:
		return fmt.Errorf("%w: more than %d depths, intervals or codecs", ErrPlan, mostMixed)
	case p.Count && (slices.Contains(p.Codecs, proto.CodecJSON) || p.PerConn != 1):
		return fmt.Errorf("%w: the closed loop is for protobuf and one subscription a connection", ErrPlan)
	case p.Verify < 0 || p.PerSource < 1 || p.SlowBytes < 0:
		return fmt.Errorf("%w: a negative number", ErrPlan)
	}
	return nil
}

// mostMixed bounds the depths, and so on, of one run.
const mostMixed = 64

// draw returns one of n by chance, for subscription sub of connection conn: the same
// in every process. what tells one thing that is drawn from another.
func (p *Plan) draw(what, conn, sub, n int) int {
	if n == 1 {
		return 0
	}
	h := p.Seed ^ uint64(what)<<56 ^ uint64(conn)<<20 ^ uint64(sub)
	for range 2 { // the finalizer of splitmix64
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return int(h % uint64(n))
}

// What is drawn.
const (
	drawCodec = iota + 1
	drawDepth
	drawInterval
)

// codecOf is the codec of connection i.
func (p *Plan) codecOf(i int) proto.Codec { return p.Codecs[p.draw(drawCodec, i, 0, len(p.Codecs))] }

// depthOf is which of Depths subscription j of connection i has.
func (p *Plan) depthOf(i, j int) int { return p.draw(drawDepth, i, j, len(p.Depths)) }

// intervalOf is the interval of subscription j of connection i.
func (p *Plan) intervalOf(i, j int) uint32 {
	return p.IntervalsMS[p.draw(drawInterval, i, j, len(p.IntervalsMS))]
}

// ReadsSlowly reports whether connection i reads slowly: evenly spread over all.
func (p *Plan) ReadsSlowly(i int) bool {
	return math.Floor(float64(i+1)*p.Slow) > math.Floor(float64(i)*p.Slow)
}

// full reports whether connection i rebuilds its books.
func (p *Plan) full(i int) bool { return p.Verify > 0 && i%p.Verify == 0 }

// Rebuilt returns how many fast readers rebuild their books.
func (p *Plan) Rebuilt() (n int) {
	for i := p.First; i < p.First+p.Conns; i++ {
		if p.full(i) && !p.ReadsSlowly(i) {
			n++
		}
	}
	return n
}

// SymbolsOf returns which symbols connection i subscribes to, each once: the same
// in every process.
func (p *Plan) SymbolsOf(i int) []int32 {
	chosen := make([]int32, 0, p.PerConn)
	n := len(p.Symbols)
	if p.Zipf == 0 {
		for j := range p.PerConn {
			chosen = append(chosen, int32((i*p.PerConn+j)%n))
		}
		return chosen
	}
	r := rand.New(rand.NewPCG(p.Seed, uint64(i)))
	if len(p.ranks) != n {
		p.ranks = p.weigh()
	}
	for len(chosen) < p.PerConn {
		at, _ := slices.BinarySearch(p.ranks, r.Float64()*p.ranks[n-1])
		symbol := int32(min(at, n-1))
		for slices.Contains(chosen, symbol) { // the next that is not taken
			symbol = (symbol + 1) % int32(n)
		}
		chosen = append(chosen, symbol)
	}
	return chosen
}

// weigh returns the running sums of the symbols' weights.
func (p *Plan) weigh() []float64 {
	sums := make([]float64, len(p.Symbols))
	total := 0.0
	for i := range sums {
		total += 1 / math.Pow(float64(i+1), p.Zipf)
		sums[i] = total
	}
	return sums
}

// target is one of the URLs, resolved.
type target struct {
	address *net.TCPAddr
	host    string // of the HTTP request
	path    string
	token   string
	tls     *tls.Config // nil: plain TCP
}

func (p *Plan) targets() ([]target, error) {
	all := make([]target, len(p.URLs))
	for i, text := range p.URLs {
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPlan, err)
		}
		port := u.Port()
		switch {
		case u.Scheme == "ws" && port == "":
			port = "80"
		case u.Scheme == "wss" && port == "":
			port = "443"
		case u.Scheme != "ws" && u.Scheme != "wss":
			return nil, fmt.Errorf("%w: URL %q, want ws://HOST:PORT or wss://HOST:PORT", ErrPlan, u.Redacted())
		}
		t := target{host: u.Host, path: u.RequestURI(), token: p.Token}
		if strings.Trim(t.path, "/") == "" && p.Dialect == Depthcast {
			t.path = "/v1/stream"
		}
		if t.address, err = net.ResolveTCPAddr("tcp", net.JoinHostPort(u.Hostname(), port)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPlan, err)
		}
		if u.Scheme == "wss" {
			t.tls = &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: p.Insecure, NextProtos: []string{"http/1.1"}}
		}
		all[i] = t
	}
	return all, nil
}
