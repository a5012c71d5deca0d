package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/depthcast/depthcast/fanout"
	"github.com/depthcast/depthcast/fanout/peer"
	"github.com/depthcast/depthcast/web"
)

// serverFlags say where and how to serve.
type serverFlags struct {
	Listen        string `help:"Address for clients: WebSocket, JSON, the page." default:":8080" placeholder:"HOST:PORT"`
	AdminListen   string `help:"Address for /metrics, /healthz, /readyz and pprof; not for strangers. Empty: none." default:"127.0.0.1:9080" placeholder:"HOST:PORT"`
	TLSCert       string `help:"PEM file with the certificate to serve clients with; with --tls-key." name:"tls-cert" type:"existingfile" placeholder:"FILE"`
	TLSKey        string `help:"PEM file with its key." name:"tls-key" type:"existingfile" placeholder:"FILE"`
	TLSClientCA   string `help:"PEM file with the authorities of whom clients must have a certificate. All three files are read anew when they change." name:"tls-client-ca" type:"existingfile" placeholder:"FILE"`
	ReusePort     bool   `help:"Share the port of --listen with other processes that are started with it (SO_REUSEPORT); the kernel spreads clients over them."`
	authFlags     `embed:""`
	strangerFlags `embed:""`
	AllowOrigin   []pageOrigin `help:"Origins whose pages may connect, besides our own; * for all." placeholder:"https://HOST"`

	Shards         int           `help:"Event loops that share the connections. 0: one a processor." default:"0"`
	RingEntries    int           `help:"Most entries of a topic's ring, a power of two; a reader further behind is lapped." default:"4096"`
	RingBytes      int64         `help:"Most bytes of one ring." default:"16777216"`
	AllRingsBytes  int64         `help:"Most bytes of all rings together." default:"1073741824"`
	ResumeWindow   time.Duration `help:"How long after a break a client should find its place in the ring." default:"5s"`
	MaxConns       int           `help:"Most connections; lowered to what the limit on open files allows." default:"100000"`
	MaxRelays      int           `help:"Most event streams over HTTP/2 and long polls under way, together." default:"512"`
	WholeReads     int           `help:"Most questions a second over plain HTTP for whole books or long lists of symbols, of all clients together." default:"20"`
	MaxTopics      int           `help:"Most topics open at once." default:"10000"`
	MaxSubs        int           `help:"Most subscriptions of a connection." default:"1000"`
	MaxMessage     int           `help:"Most bytes of one message from a client." default:"65536"`
	Drain          time.Duration `help:"Time over which a server that stops spreads the ends of its connections. 0: all at once." default:"3s"`
	Deflate        string        `help:"Which clients may agree on compressed messages (permessage-deflate): json (those that speak JSON), all or off. Protobuf hardly shrinks." enum:"json,all,off" default:"json"`
	DeflateLevel   int           `help:"How hard to compress, 1 to 9." default:"3"`
	DeflateMin     int           `help:"Bytes from which on a frame is compressed." default:"128"`
	Keepalive      time.Duration `help:"How long a topic may be idle before its subscribers are told that it lives." default:"5s"`
	StallTimeout   time.Duration `help:"How long a client's socket may take nothing before it is dropped (stalled)." default:"10s"`
	SilenceTimeout time.Duration `help:"How long a client may say nothing, pongs included, before it is dropped (silent)." default:"60s"`
	SendBuffer     int           `help:"Bytes of a client's socket buffer in the kernel, which doubles it. 0: the kernel's default." default:"0"`
	UnsentBytes    int           `help:"Bytes that the kernel takes for a client beyond what is on its way; the rest waits in the ring." default:"32768"`
	Dialects       bool          `help:"Speak to exchanges' clients below /dialect/: Kraken's WebSocket version 2 and Binance's spot streams, with what they need of REST." default:"true" negatable:""`
	DialectVenue   string        `help:"Venue (before the colon of a symbol) whose symbols have names there, as BTC/USD and BTCUSD. Empty: all, without those that would have the same name." placeholder:"VENUE"`
	BatchDelay     time.Duration `help:"Least time between two deliveries of an event loop: what comes within it leaves together. 0: none." default:"0s"`
	PinnedBytes    int64         `help:"Most bytes of half-sent frames of all clients together; beyond it the longest stalled is dropped." default:"268435456"`
}

// deflates are the values of --deflate.
var deflates = map[string]fanout.Deflate{"json": fanout.DeflateJSON, "all": fanout.DeflateAll, "off": fanout.DeflateOff}

// hub is what the flags say of the fan-out. fatal is told when a shard has ended.
func (f *serverFlags) hub(b fanout.Books, fatal chan<- error) fanout.Config {
	c := fanout.Config{
		Books:             b,
		Shards:            f.Shards,
		RingEntries:       f.RingEntries,
		RingBytes:         f.RingBytes,
		AllRingsBytes:     f.AllRingsBytes,
		ResumeWindow:      f.ResumeWindow,
		MaxConns:          min(f.MaxConns, spareDescriptors(f.places(), f.MaxRelays)),
		MaxRelays:         f.MaxRelays,
		WholeReads:        f.WholeReads,
		MaxTopics:         f.MaxTopics,
		MaxSubscriptions:  f.MaxSubs,
		MaxMessageBytes:   f.MaxMessage,
		DrainWindow:       f.Drain,
		Deflate:           deflates[f.Deflate],
		DeflateLevel:      f.DeflateLevel,
		DeflateMin:        f.DeflateMin,
		KeepaliveInterval: f.Keepalive,
		StallTimeout:      f.StallTimeout,
		SilenceTimeout:    f.SilenceTimeout,
		SendBufferBytes:   f.SendBuffer,
		UnsentBytes:       f.UnsentBytes,
		BatchDelay:        f.BatchDelay,
		DialectVenue:      f.DialectVenue,
		PinnedBytes:       f.PinnedBytes,
		AuthTimeout:       f.AuthTimeout,
		Server:            "depthcast " + version,
		OnFatal: func(err error) {
			select {
			case fatal <- fmt.Errorf("a shard has ended: %w", err):
			default: // another has told already
			}
		},
	}
	f.bound(&c)
	return c
}

const (
	// httpPlaces bounds the client connections that are in plain HTTP or in their
	// handshake, where the flags do not say it.
	httpPlaces = 1024
	// httpTurns bounds those that are being told to come back.
	httpTurns = 128
	// httpLine bounds those that wait for a place, beyond as many as the hub has
	// room for; at most longestLine.
	httpLine    = 128
	longestLine = 16 << 10
)

// spareDescriptors is how many connections the limit on open files allows, beside those
// that are in one of places, of which each has two for a moment, relays, of which each
// has two more than as a connection, Kafka, listeners and files. Go has raised the soft
// limit to the hard one at its start.
func spareDescriptors(places, relays int) int {
	reserved := 2*places + 2*relays + httpTurns + httpLine + 256
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1 << 10
	}
	return max(1, int(min(limit.Cur, 1<<30))-reserved)
}

// doors are the listeners of a server.
type doors struct {
	clients, admin *http.Server
	listen, inside net.Listener // inside: the admin listener, nil without one
	fatal          <-chan error

	porch  *peer.Listener        // under the client listener
	certs  *certificates         // nil: in the clear
	log    *sparing              // of what clients do
	lobby  *lobby                // of the client listener
	stream *fanout.StreamHandler // counts handshakes
}

// openDoors binds the addresses, so that one that is taken is told at once.
func openDoors(s *server, f *serverFlags, log *sparing, fatal <-chan error) (_ *doors, err error) {
	d := &doors{fatal: fatal, log: log}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if d.listen, err = listen(f.Listen, "--listen", f.ReusePort); err != nil {
		return nil, err
	}
	if d.certs, err = f.openCertificates(); err != nil {
		return nil, err
	}
	logger := slog.New(log)
	d.porch = f.porch(d.listen, logger)
	l := net.Listener(d.porch)
	if d.certs != nil {
		l = fanout.TLSListener(l, d.certs.config())
	}
	d.lobby = newLobby(l, f.places(), httpTurns, func() int { return min(s.hub.Room()+httpLine, longestLine) })
	d.lobby.open()
	d.listen = d.lobby
	origins := make([]string, len(f.AllowOrigin))
	for i, o := range f.AllowOrigin {
		origins[i] = string(o)
	}
	d.stream = &fanout.StreamHandler{Hub: s.hub, Origins: origins, Log: logger}
	clients := clientHandler(s.hub, d.stream)
	if f.Dialects {
		clients.Handle("/dialect/", d.stream.Dialects())
	}
	d.clients = httpServer(d.lobby.handler(&fanout.Guard{
		Hub: s.hub, Cookie: f.AuthCookie, Origins: origins, Next: clients, Log: logger,
	}))
	d.clients.WriteTimeout = answerWithin
	d.clients.ErrorLog = slog.NewLogLogger(log, slog.LevelDebug)
	f.strict(d.clients)
	d.clients.ConnState, d.clients.ConnContext = d.lobby.state, d.lobby.context
	if f.AdminListen == "" {
		return d, nil
	}
	if d.inside, err = listen(f.AdminListen, "--admin-listen", false); err != nil {
		return nil, err
	}
	d.admin = httpServer(adminHandler(s))
	d.admin.WriteTimeout = profileWithin
	return d, nil
}

// listen binds an address. shared lets other processes that ask for it bind it too.
func listen(address, flag string, shared bool) (net.Listener, error) {
	var config net.ListenConfig
	if shared {
		config.Control = func(_, _ string, c syscall.RawConn) (err error) {
			failed := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
			return errors.Join(failed, err)
		}
	}
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w (is another server running? choose another address with %s)", err, flag)
	}
	return l, nil
}

// answerWithin bounds the time from a request's header to the end of its answer, so
// that who does not read gives its place in the lobby back. It ends with an upgrade.
// profileWithin is that of the admin listener, where profiles take their time.
const (
	headerBytes   = 16 << 10
	headerWithin  = 5 * time.Second
	answerWithin  = 20 * time.Second
	profileWithin = 10 * time.Minute
)

// httpServer bounds what a stranger may make it wait for or hold.
func httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerWithin,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
}

// clientHandler is what clients see, exchanges' dialects aside.
func clientHandler(hub *fanout.Hub, stream *fanout.StreamHandler) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("/v1/stream", stream)
	mux.Handle("/v1/", fanout.HTTPHandler(hub))
	mux.Handle("/", web.Handler())
	return mux
}

// serve answers until ctx ends, or something that the process cannot do without
// has ended: a listener, a shard, or reading (told by reading).
func (d *doors) serve(ctx context.Context, reading <-chan error) error {
	ended := make(chan error, 2)
	go func() { ended <- d.clients.Serve(d.listen) }()
	if d.admin != nil {
		go func() { ended <- d.admin.Serve(d.inside) }()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return err
	case err := <-d.fatal:
		return err
	case err := <-reading:
		return err
	}
}

// shut stops listening.
func (d *doors) shut() {
	for _, l := range []net.Listener{d.listen, d.inside} {
		if l != nil {
			_ = l.Close() // a second close, by a server, is harmless
		}
	}
}

// close stops listening and ends plain HTTP requests; connections that the hub
// has taken are the hub's.
func (d *doors) close() {
	d.shut()
	for _, s := range []*http.Server{d.clients, d.admin} {
		if s != nil {
			_ = s.Close() // reports the listener closed above
		}
	}
}

// url is where a browser on this machine finds the server.
func (s *server) url() string {
	scheme := "https"
	if s.doors.certs == nil {
		scheme = "http"
	}
	host, port, _ := net.SplitHostPort(s.doors.listen.Addr().String()) // an address that a listener made
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() || ip.IsLoopback() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// announce prints where to look and how to subscribe.
func (s *server) announce(w io.Writer) {
	base := s.url()
	stream := "ws" + base[len("http"):] + "/v1/stream"
	symbol := s.example
	fmt.Fprintf(w, `
depthcast %s is serving

  in a browser     %s
  in a terminal    %s watch --url %s %s
  over HTTP        curl '%s/v1/books/%s?depth=5'
  over WebSocket   %s   (subprotocols depthcast.v1.json, depthcast.v1.proto)
                   send {"type":"subscribe","id":1,"items":[{"symbol":"%s","channel":"book","depth":10}]}
  symbols          curl %s/v1/symbols
`, version, base, os.Args[0], stream, symbol, base, symbol, stream, symbol, base)
	if s.doors.inside != nil {
		fmt.Fprintf(w, "  for operators    http://%s/metrics /healthz /readyz /debug/pprof\n", s.doors.inside.Addr())
	}
	if s.delay > 0 {
		fmt.Fprintf(w, "  late on purpose  by %v\n", s.delay)
	}
	fmt.Fprintf(w, "\nCtrl-C ends it.\n\n")
}
