package fanout

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// errQuery refuses the parameters of a URL.
var errQuery = errors.New("bad parameter")

// query reads the parameters of a URL. The first that is wrong is its error.
type query struct {
	values url.Values
	err    error
}

func (q *query) refuse(format string, args ...any) {
	if q.err == nil {
		q.err = fmt.Errorf("%w: "+format, append([]any{errQuery}, args...)...)
	}
}

// number returns a parameter of at most most, or what stands for one not given.
func (q *query) number(name string, absent, most uint64) uint64 {
	text := q.values.Get(name)
	if text == "" {
		return absent
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > most {
		q.refuse("%s is no number from 0 to %d", name, most)
	}
	return n
}

// flag returns a parameter that is 1 or 0, or not given.
func (q *query) flag(name string) bool {
	switch q.values.Get(name) {
	case "1":
		return true
	case "", "0":
		return false
	}
	q.refuse("%s is neither 1 nor 0", name)
	return false
}

// channels returns those asked for; the book where none is.
func (q *query) channels() []pb.Channel {
	words := q.values["channel"]
	if len(words) == 0 {
		return []pb.Channel{pb.Channel_CHANNEL_BOOK}
	}
	var all []pb.Channel
	for _, word := range words {
		c := proto.ChannelOf(word)
		if c == 0 {
			q.refuse("channel is none of this protocol")
		}
		all = append(all, pb.Channel(c))
	}
	return all
}

func (q *query) policy() pb.Policy {
	switch q.values.Get("policy") {
	case "", "conflate":
		return pb.Policy_POLICY_CONFLATE
	case "drop":
		return pb.Policy_POLICY_DROP
	}
	q.refuse("policy is neither conflate nor drop")
	return 0
}

// subscribe returns the request that the parameters symbol, channel, depth, group,
// counts, interval_ms, policy, last, max_hz and max_bytes_per_s stand for: each symbol in each
// channel, and what else is said where a channel has use for it. It has no items
// where no symbol is given.
func (q *query) subscribe() *pb.Subscribe {
	item := pb.SubscribeItem{
		Depth: uint32(q.number("depth", 0, 1<<32-1)), Group: q.values.Get("group"), Counts: q.flag("counts"),
		IntervalMs: uint32(q.number("interval_ms", 0, 1<<32-1)), Policy: q.policy(), Last: uint32(q.number("last", 0, 1<<32-1)),
	}
	ask := &pb.Subscribe{MaxHz: uint32(q.number("max_hz", 0, 1<<32-1)), MaxBytesPerS: q.number("max_bytes_per_s", 0, 1<<63)}
	symbols, channels := q.values["symbol"], q.channels()
	if n := len(symbols) * len(channels); n > MaxEventTopics {
		q.refuse("%d topics, at most %d", n, MaxEventTopics)
		return ask
	}
	for _, symbol := range symbols {
		if !utf8.ValidString(symbol) { // an answer that names it could not be written
			q.refuse("symbol is not UTF-8")
		}
		for _, channel := range channels {
			one := &pb.SubscribeItem{Symbol: symbol, Channel: channel, IntervalMs: item.IntervalMs, Policy: item.Policy}
			switch channel {
			case pb.Channel_CHANNEL_BOOK:
				one.Depth, one.Group, one.Counts = item.Depth, item.Group, item.Counts
			case pb.Channel_CHANNEL_ORDERS:
				one.Depth = item.Depth
			case pb.Channel_CHANNEL_TRADES:
				one.Last = item.Last
			}
			ask.Items = append(ask.Items, one)
		}
	}
	return ask
}

// goOn returns what a client asks for that gives both parameters and a resume token:
// the topics of the parameters, each from where the token says that it stands. Where
// only one of the two is given, that is it.
func goOn(ask *pb.Subscribe, token string) (*pb.Subscribe, error) {
	if token == "" {
		return ask, nil
	}
	stands, err := parseResumeToken(token)
	if err != nil || len(ask.Items) == 0 {
		return stands, err
	}
	known := map[proto.TopicKey]*pb.Resume{}
	for _, item := range stands.Items {
		if key, err := grantOf(item); err == nil {
			known[key] = item.Resume
		}
	}
	var patterns []*pb.SubscribeItem
	for _, item := range ask.Items {
		if proto.IsPattern(item.Symbol) {
			patterns = append(patterns, item)
		}
		if key, err := grantOf(item); err == nil {
			item.Resume = known[key]
			delete(known, key)
		}
	}
	// What a pattern had brought goes on where it stood, before the pattern brings
	// anything; what has no room here it brings anew. It counts after what the
	// parameters name, whose items keep their numbers.
	for _, item := range stands.Items {
		if len(ask.Items) == MaxEventTopics {
			break
		}
		key, err := grantOf(item)
		if err == nil && known[key] != nil && slices.ContainsFunc(patterns, func(p *pb.SubscribeItem) bool { return brings(p, item) }) {
			ask.Items = append(ask.Items, item)
		}
	}
	return ask, nil
}

func grantOf(item *pb.SubscribeItem) (proto.TopicKey, error) {
	return grant(item.Symbol, item.Channel, item.Depth, item.Group, item.Counts)
}

// brings reports whether a pattern may have brought the topic of item.
func brings(pattern, item *pb.SubscribeItem) bool {
	return item.Channel == pattern.Channel && strings.HasPrefix(item.Symbol, strings.TrimSuffix(pattern.Symbol, "*"))
}
