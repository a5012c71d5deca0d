package fanout

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/depthcast/depthcast/fanout/peer"
	"github.com/depthcast/depthcast/fanout/poll"
)

// ErrConfig marks a configuration that contradicts itself.
var ErrConfig = errors.New("fanout: bad configuration")

// Config sets the limits of a hub. A zero field takes its default.
type Config struct {
	// Books is where views come from. Required.
	Books Books

	// Shards is the number of event loops that share the connections. Each is one
	// goroutine; more than the processors that are free gains nothing. GOMAXPROCS
	// should be at least Shards + 1. Default: runtime.NumCPU().
	Shards int

	// RingEntries bounds the entries of one topic's ring, a power of two. A reader
	// that is this far behind is lapped. A ring starts small and grows while its
	// entries are younger than ResumeWindow. Default 4096.
	RingEntries int

	// RingBytes bounds the bytes of one ring, its frames included. Default 16 MiB.
	RingBytes int64

	// AllRingsBytes bounds the bytes of all rings together. Default 1 GiB.
	AllRingsBytes int64

	// ResumeWindow is how long after a break a resume should find its place in the
	// ring, and what hello promises. Default 5 s.
	ResumeWindow time.Duration

	// MaxTopics bounds the topics that are open. Beyond it one that only lingers
	// gives way, the longest idle first; where all have readers, a subscription to
	// a new one is refused (overloaded). Default 10 000.
	MaxTopics int

	// MaxPatterns bounds those of them that list the instruments of a pattern, of
	// which each holds a list of what matches. Beyond it as with MaxTopics. Default 64.
	MaxPatterns int

	// TopicLinger is how long a topic without a reader stays open, so that those
	// who reconnect find its ring. Default 60 s.
	TopicLinger time.Duration

	// MaxConns bounds the connections. Default 100 000.
	MaxConns int

	// MaxRelays bounds the event streams that are relayed: those over HTTP/2, and polls
	// under way. Each has a goroutine and two descriptors. Default 512.
	MaxRelays int

	// MaxConnsPerAddress bounds the connections of one address, of all kinds; an IPv6
	// address stands for its /64. 0: no bound.
	MaxConnsPerAddress int

	// MaxRelaysPerAddress bounds the relays among them. 0: no bound.
	MaxRelaysPerAddress int

	// HTTPRequestsPerAddress is how many requests over HTTP a second an address may
	// make on average, handshakes and polls included; four seconds of them at once.
	// 0: any number.
	HTTPRequestsPerAddress int

	// ExemptAddresses are not bound by the three above, nor by SnapshotBytesPerUser.
	ExemptAddresses peer.Nets

	// Proxies are those who say for whom they ask.
	Proxies peer.Proxies

	// WholeReads bounds the plain questions a second for whole books, or for long lists
	// of symbols, of all clients together; twice as many may come at once. Default 20.
	WholeReads int

	// MaxSubscriptions bounds the subscriptions of one connection. Default 1000.
	MaxSubscriptions int

	// MaxItems bounds the items of one request. Default 500.
	MaxItems int

	// ResumeTokenBytes bounds the resume token of an event stream or poll: a topic that
	// it would have no room for is refused. It must be less than a line of a request may
	// have, here and at proxies in between. Default, and most, 7 KiB.
	ResumeTokenBytes int

	// MaxMessageBytes bounds one message of a client, fragments together. Default
	// 64 KiB.
	MaxMessageBytes int

	// RequestsPerSecond is what a connection may ask on average; it may save up
	// RequestBurst. Ten items count as one, a pattern as fifty items. Default 50.
	RequestsPerSecond int

	// RequestBurst is how many requests may come at once. Default 2 s of them.
	RequestBurst int

	// MessagesInPerSecond and BytesInPerSecond are what a connection may send on average,
	// of whatever kind, pings and refused requests included; eight seconds of it may come
	// at once. A connection that sends more is dropped (flooding). 0: any number.
	MessagesInPerSecond, BytesInPerSecond int

	// SnapshotBytesPerSecond is how many bytes of snapshots a connection may ask for on
	// average (subscribe, modify, resync), about; eight seconds of it at once. Who asks
	// for more is refused (rate_limited); what a pattern brings waits. 0: any number.
	SnapshotBytesPerSecond int

	// SnapshotBytesPerUser is the same of all connections of one user together, of one
	// address where no token says whose they are; each item that is asked for counts for
	// a KiB, also a refused one. Who asks for more is not heard (rate_limited). 0: any
	// number.
	SnapshotBytesPerUser int

	// ResyncInterval is the least time between two snapshots that one connection
	// asks for (resync, mismatch), on average; eight may come at once. Default 1 s.
	ResyncInterval time.Duration

	// Deflate says which connections may agree on compressed messages. A compressed
	// frame too is made once for all. Default DeflateJSON.
	Deflate Deflate

	// DeflateLevel is how hard to compress, 1 to 9. Default 3: from there on frames of
	// a few hundred bytes take longer and become no smaller.
	DeflateLevel int

	// DeflateMin is from how many bytes on a frame is compressed. Default 128.
	DeflateMin int

	// Echo has every message answered by itself: a server for conformance tests, over
	// the connections of this one.
	Echo bool

	// MaxBytesPerTurn bounds what a connection is sent before the others of its
	// shard have their turn; a greater frame takes several. Default 64 KiB.
	MaxBytesPerTurn int

	// ControlBytes bounds what waits to be sent to a connection beside data: acks,
	// errors, pongs. A client that asks faster than it reads is dropped
	// (control_overflow). It must hold the answers to a request of MaxItems.
	// Default 256 KiB.
	ControlBytes int

	// SendBufferBytes sets SO_SNDBUF (the kernel doubles it). 0 leaves the kernel's
	// default, which grows to megabytes for a slow reader. Default 0.
	SendBufferBytes int

	// UnsentBytes sets TCP_NOTSENT_LOWAT: how much the kernel takes for a client
	// beyond what is on its way. What a slow reader has not been sent stays in the
	// ring, shared, and becomes a net delta, instead of old frames in the kernel's
	// memory: some 55 KB a reader with the default, 190 with 128 KiB. Default 32 KiB.
	UnsentBytes int

	// BatchDelay is the least time between two deliveries of a shard. What is
	// published within it leaves together, in one send a connection; what comes
	// after a quiet time does not wait. 0: none. Default 0.
	BatchDelay time.Duration

	// PinnedBytes bounds what is kept for slow readers, all connections together: the
	// frames of which a part has left, a shared one counted once, and what waits
	// beside data while a socket is full. Beyond it the connection that has been
	// stalled longest is dropped (pinned_bytes); beyond it by an eighth, within a turn,
	// the shard's own. Default 256 MiB.
	PinnedBytes int64

	// MergedBytes bounds the cache of net deltas. Default 32 MiB.
	MergedBytes int

	// StallTimeout is how long a socket may take nothing before its connection is
	// dropped (stalled). Default 10 s.
	StallTimeout time.Duration

	// MaxLaps is how often a connection may be lapped within LapWindow, on average over
	// its subscriptions (one pause laps them all), before it is dropped
	// (lapped_often). Default 20.
	MaxLaps int

	// LapWindow is the time that MaxLaps refers to. Default 60 s.
	LapWindow time.Duration

	// SilenceTimeout is how long a peer may say nothing, pongs included, or take for
	// one message, before its connection is dropped (silent); it is pinged at half of
	// that. A full socket that takes more counts as its peer's word: where it reads
	// slowly, a ping lies behind all that it has yet to read. Default 60 s.
	SilenceTimeout time.Duration

	// CloseTimeout is how long a peer may take to answer a close frame. Default 1 s.
	CloseTimeout time.Duration

	// DrainWindow is the time over which Shutdown spreads the ends of connections:
	// each is told when its own is, and served until then. Default 0: all end at once.
	DrainWindow time.Duration

	// KeepaliveInterval is how long a topic may be idle before its subscribers are
	// told that it lives. Default 5 s.
	KeepaliveInterval time.Duration

	// DialectVenue is the venue (what stands before the colon) whose symbols have
	// names in the exchange dialects. Empty: all have, and those that would have the
	// same name have none. Default empty.
	DialectVenue string

	// BehindWait is how long a client that has seen more than this node waits for
	// the node to catch up, before it is sent an older snapshot. Default 5 s.
	BehindWait time.Duration

	// Gate says who may have what. nil: everybody may have everything.
	Gate Gate

	// AuthTimeout is, where there is a gate, how long a connection whose handshake
	// brought no token may take to show a valid one (auth) before it is dropped
	// (unauthenticated). 0: the handshake must bring it.
	AuthTimeout time.Duration

	// Delay is how late the books are that Books has, on purpose. Clients are told,
	// and a grant may ask for it. Default 0.
	Delay time.Duration

	// Meter is told which user had which topic when. nil: nobody is.
	Meter Meter

	// Server is the name and version that hello shows. Default "depthcast".
	Server string

	// Now is the clock; only tests replace it. Default time.Now.
	Now func() time.Time

	// Sockets are the system calls of connections; only tests replace them.
	// Default poll.Kernel.
	Sockets poll.Sockets

	// Log takes what an operator should know: rarely one line per connection.
	// Default: slog.Default().
	Log *slog.Logger

	// OnFatal is told that a shard has ended for good; the process should end too.
	// Default: panic.
	OnFatal func(error)
}

func (c *Config) validate() error {
	if c.Books == nil && !c.Echo {
		return fmt.Errorf("%w: Books is required", ErrConfig)
	}
	c.setDefaults()
	positive := []struct {
		name  string
		value int64
	}{
		{"Shards", int64(c.Shards)}, {"RingEntries", int64(c.RingEntries)}, {"RingBytes", c.RingBytes},
		{"AllRingsBytes", c.AllRingsBytes}, {"ResumeWindow", int64(c.ResumeWindow)}, {"MaxTopics", int64(c.MaxTopics)},
		{"MaxPatterns", int64(c.MaxPatterns)}, {"TopicLinger", int64(c.TopicLinger)}, {"MaxConns", int64(c.MaxConns)}, {"MaxRelays", int64(c.MaxRelays)}, {"WholeReads", int64(c.WholeReads)},
		{"MaxConnsPerAddress", int64(c.MaxConnsPerAddress)}, {"MaxRelaysPerAddress", int64(c.MaxRelaysPerAddress)},
		{"HTTPRequestsPerAddress", int64(c.HTTPRequestsPerAddress)}, {"MaxSubscriptions", int64(c.MaxSubscriptions)},
		{"MaxItems", int64(c.MaxItems)}, {"ResumeTokenBytes", int64(c.ResumeTokenBytes)}, {"MaxMessageBytes", int64(c.MaxMessageBytes)}, {"DeflateMin", int64(c.DeflateMin)},
		{"RequestsPerSecond", int64(c.RequestsPerSecond)}, {"RequestBurst", int64(c.RequestBurst)},
		{"MessagesInPerSecond", int64(c.MessagesInPerSecond)}, {"BytesInPerSecond", int64(c.BytesInPerSecond)},
		{"SnapshotBytesPerSecond", int64(c.SnapshotBytesPerSecond)}, {"SnapshotBytesPerUser", int64(c.SnapshotBytesPerUser)},
		{"ResyncInterval", int64(c.ResyncInterval)}, {"MaxBytesPerTurn", int64(c.MaxBytesPerTurn)},
		{"ControlBytes", int64(c.ControlBytes)}, {"UnsentBytes", int64(c.UnsentBytes)},
		{"BatchDelay", int64(c.BatchDelay)}, {"PinnedBytes", c.PinnedBytes}, {"MergedBytes", int64(c.MergedBytes)},
		{"StallTimeout", int64(c.StallTimeout)}, {"MaxLaps", int64(c.MaxLaps)}, {"LapWindow", int64(c.LapWindow)},
		{"SilenceTimeout", int64(c.SilenceTimeout)}, {"CloseTimeout", int64(c.CloseTimeout)},
		{"DrainWindow", int64(c.DrainWindow)}, {"KeepaliveInterval", int64(c.KeepaliveInterval)}, {"BehindWait", int64(c.BehindWait)},
		{"AuthTimeout", int64(c.AuthTimeout)}, {"Delay", int64(c.Delay)},
	}
	for _, p := range positive {
		if p.value < 0 {
			return fmt.Errorf("%w: %s %d is negative", ErrConfig, p.name, p.value)
		}
	}
	switch {
	case c.ResumeTokenBytes > MaxResumeTokenBytes:
		return fmt.Errorf("%w: ResumeTokenBytes %d is above %d", ErrConfig, c.ResumeTokenBytes, MaxResumeTokenBytes)
	case c.SendBufferBytes < 0:
		return fmt.Errorf("%w: SendBufferBytes %d is negative", ErrConfig, c.SendBufferBytes)
	case c.Deflate >= numDeflates:
		return fmt.Errorf("%w: there is no Deflate %d", ErrConfig, c.Deflate)
	case c.DeflateLevel < 1 || c.DeflateLevel > 9:
		return fmt.Errorf("%w: DeflateLevel %d is not from 1 to 9", ErrConfig, c.DeflateLevel)
	case c.RingEntries&(c.RingEntries-1) != 0 || c.RingEntries < minRingEntries:
		return fmt.Errorf("%w: RingEntries %d must be a power of two from %d on", ErrConfig, c.RingEntries, minRingEntries)
	case c.MaxBytesPerTurn < minBytesPerTurn:
		return fmt.Errorf("%w: MaxBytesPerTurn %d is below %d", ErrConfig, c.MaxBytesPerTurn, minBytesPerTurn)
	case c.BytesInPerSecond > 0 && c.BytesInPerSecond*inSeconds < 2*c.MaxMessageBytes:
		return fmt.Errorf("%w: BytesInPerSecond %d lets no message of MaxMessageBytes %d through", ErrConfig, c.BytesInPerSecond, c.MaxMessageBytes)
	case c.ControlBytes < maxAnswerBytes*c.MaxItems:
		return fmt.Errorf("%w: ControlBytes %d cannot hold %d answers of up to %d bytes (MaxItems)", ErrConfig, c.ControlBytes, c.MaxItems, maxAnswerBytes)
	}
	return nil
}

const (
	// minRingEntries is what a ring starts with.
	minRingEntries = 16

	minBytesPerTurn = 1024

	// maxAnswerBytes is about what an ack or an error takes in the wordier codec.
	maxAnswerBytes = 512
)

func (c *Config) setDefaults() {
	orElse(&c.Shards, runtime.NumCPU())
	orElse(&c.RingEntries, 4096)
	orElse(&c.RingBytes, 16<<20)
	orElse(&c.AllRingsBytes, 1<<30)
	orElse(&c.ResumeWindow, 5*time.Second)
	orElse(&c.MaxTopics, 10_000)
	orElse(&c.MaxPatterns, 64)
	orElse(&c.TopicLinger, 60*time.Second)
	orElse(&c.MaxConns, 100_000)
	orElse(&c.MaxRelays, 512)
	orElse(&c.WholeReads, 20)
	orElse(&c.MaxSubscriptions, 1000)
	orElse(&c.MaxItems, 500)
	orElse(&c.ResumeTokenBytes, MaxResumeTokenBytes)
	orElse(&c.MaxMessageBytes, 64<<10)
	orElse(&c.RequestsPerSecond, 50)
	orElse(&c.RequestBurst, 2*c.RequestsPerSecond)
	orElse(&c.ResyncInterval, time.Second)
	orElse(&c.DeflateLevel, 3)
	orElse(&c.DeflateMin, 128)
	orElse(&c.MaxBytesPerTurn, 64<<10)
	orElse(&c.ControlBytes, max(256<<10, maxAnswerBytes*c.MaxItems))
	orElse(&c.UnsentBytes, 32<<10)
	orElse(&c.PinnedBytes, 256<<20)
	orElse(&c.MergedBytes, 32<<20)
	orElse(&c.StallTimeout, 10*time.Second)
	orElse(&c.MaxLaps, 20)
	orElse(&c.LapWindow, 60*time.Second)
	orElse(&c.SilenceTimeout, 60*time.Second)
	orElse(&c.CloseTimeout, time.Second)
	orElse(&c.KeepaliveInterval, 5*time.Second)
	orElse(&c.BehindWait, 5*time.Second)
	orElse(&c.Server, "depthcast")
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Sockets == nil {
		c.Sockets = poll.Kernel{}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.OnFatal == nil {
		c.OnFatal = func(err error) { panic(err) }
	}
}

func orElse[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
