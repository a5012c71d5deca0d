package main

import (
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/depthcast/depthcast/book"
	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/fanout"
	"github.com/depthcast/depthcast/proto"
)

// pathBooks is fanout.Books of one engine, whose lock is mu.
type pathBooks struct {
	mu     sync.Mutex
	engine *book.Engine
	wakes  fanout.Wakes
	frame  []byte
}

// framed is a topic that has every delta's frame made at once, as the first shard
// would: on the writer's own time.
type framed struct {
	*fanout.Topic
	books *pathBooks
}

func (f framed) Delta(d *proto.Delta) {
	f.Topic.Delta(d)
	f.books.frame = proto.AppendDelta(f.books.frame[:0], proto.TopicForm{Topic: 1}, d)
}

type lockedView struct {
	*book.View
	mu *sync.Mutex
}

func (v lockedView) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.View.Close()
}

func (b *pathBooks) OpenView(key proto.TopicKey, t *fanout.Topic) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, err := b.engine.Open(key, framed{t, b})
	if err == nil {
		t.Opened(lockedView{v, &b.mu}, &b.wakes)
	}
	return err
}

func (b *pathBooks) ReadView(key proto.TopicKey, s *proto.Snapshot) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.engine.Read(key, s)
}

func (b *pathBooks) CaughtUp() bool { return true }

func (b *pathBooks) Symbols() []proto.SymbolInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.engine.Symbols()
}

// BenchmarkPath: from the decoded record to the published frame: applied, shown in
// a view of ten levels, published to its topic's ring, and encoded as protobuf.
// The topic had a reader, who has left.
func BenchmarkPath(b *testing.B) {
	eachStream(b, func(b *testing.B, s *benchStream) {
		p := newPlayer(b, s, 1, -1, nil)
		books := &pathBooks{engine: p.engine}
		hub, err := fanout.New(fanout.Config{Books: books, Shards: 1})
		if err != nil {
			b.Fatal(err)
		}
		server := httptest.NewServer(clientHandler(hub, &fanout.StreamHandler{Hub: hub, Log: slog.New(slog.DiscardHandler)}))
		defer server.Close()
		defer hub.Shutdown(b.Context())
		visit(b, server.URL, p.names[0])

		books.mu.Lock()
		defer books.mu.Unlock()
		p.measure(books.wakes.Flush)
	})
}

// visit subscribes to the book of symbol, sees its snapshot, and leaves.
func visit(b *testing.B, url, symbol string) {
	c, err := client.New(client.Config{URL: "ws" + strings.TrimPrefix(url, "http") + "/v1/stream"})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := c.Subscribe(client.Item{Symbol: symbol, Depth: 10}); err != nil {
		b.Fatal(err)
	}
	for event, err := range c.Events(b.Context()) {
		if err != nil {
			b.Fatal(err)
		}
		if _, ok := event.(*client.Refused); ok {
			b.Fatal(errors.New("the subscription was refused"))
		}
		if _, ok := event.(*client.BookSet); ok {
			return
		}
	}
}
