package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/proto"
)

// watchCmd shows books as a subscriber sees them.
type watchCmd struct {
	Symbols   []string      `arg:"" name:"symbol" help:"Symbols to watch, such as SIM:BTC-USD, or patterns, such as 'SIM:*': every symbol that matches, later ones too."`
	URL       string        `help:"Stream of the server; wss:// for TLS." default:"ws://localhost:8080/v1/stream"`
	Codec     string        `help:"Codec of the frames: proto or json." enum:"proto,json" default:"proto"`
	Deflate   bool          `help:"Offer compression: fewer bytes for more CPU. Servers take it for JSON, unless they were told otherwise."`
	Depth     uint32        `help:"Levels a side; 0: all." default:"10"`
	Group     string        `help:"Sum levels over this price increment, such as 0.5." placeholder:"INCREMENT"`
	Interval  time.Duration `help:"Least time between two updates of a book, in whole ms; 0: every change." default:"0s"`
	Counts    bool          `help:"Show the number of orders of each level."`
	Orders    bool          `help:"Show the orders of each level, the one served first in front. Only books kept by order have them."`
	Trades    bool          `help:"Show trades too."`
	Ticker    bool          `help:"Show the ticker too: last price and session statistics."`
	List      bool          `help:"Show definitions, phases and ends in place of books."`
	Once      bool          `help:"Print the first whole book (or list) of each symbol and exit."`
	JSON      bool          `name:"json" help:"Print one JSON line per update."`
	TokenFile string        `help:"File with the token to show; read anew for each connection, and before the token ends." placeholder:"FILE" type:"existingfile"`
	CA        string        `name:"ca" help:"PEM file of certificates to trust for wss://, in place of the system's." placeholder:"FILE" type:"existingfile"`
}

// Run subscribes and prints until ctx ends, nothing is left to watch, or the
// server cannot be spoken with.
func (c *watchCmd) Run(ctx context.Context, out io.Writer) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	cl, err := client.New(config)
	if err != nil {
		return err
	}
	if c.List {
		return c.list(ctx, cl, out)
	}
	symbols, err := c.symbols(ctx, cl)
	if err != nil {
		return err
	}
	w := &watcher{once: c.Once, print: c.printer(out)}
	defer w.print.close()
	if err := c.subscribe(cl, w, symbols); err != nil {
		return err
	}
	for event, err := range cl.Events(ctx) {
		if err != nil {
			return err
		}
		if err := w.take(event); err != nil {
			return err
		}
		if w.done() {
			return w.refusals()
		}
	}
	return nil
}

func (c *watchCmd) config() (client.Config, error) {
	config := client.Config{URL: c.URL, Deflate: c.Deflate}
	if c.TokenFile != "" {
		config.Token = func(context.Context) (string, error) {
			text, err := os.ReadFile(c.TokenFile)
			return strings.TrimSpace(string(text)), err
		}
	}
	if c.Codec == "json" {
		config.Codec = proto.CodecJSON
	}
	if c.CA == "" {
		return config, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return config, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return config, fmt.Errorf("%s holds no PEM certificate", c.CA)
	}
	config.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return config, nil
}

// printer chooses the form of the output.
func (c *watchCmd) printer(out io.Writer) printer {
	if c.JSON {
		return newJSONPrinter(out)
	}
	if f, ok := out.(*os.File); ok && !c.Once && term.IsTerminal(int(f.Fd())) {
		return newScreen(f)
	}
	return &linePrinter{out: out, whole: c.Once}
}

func (c *watchCmd) subscribe(cl *client.Client, w *watcher, symbols []string) error {
	w.beside = func(s *watched) (err error) {
		if c.Trades && !c.Once {
			s.tape, err = cl.Subscribe(client.Item{Symbol: s.symbol, Channel: proto.ChannelTrades, Last: shownTrades})
		}
		if err == nil && c.Ticker && !c.Once {
			s.ticker, err = cl.Subscribe(client.Item{Symbol: s.symbol, Channel: proto.ChannelTicker})
		}
		return err
	}
	for _, symbol := range symbols {
		item := client.Item{Symbol: symbol, Depth: c.Depth, Group: c.Group, Counts: c.Counts, Interval: c.Interval}
		if c.Orders {
			item.Channel, item.Counts = proto.ChannelOrders, false // which the orders tell
		}
		book, err := cl.Subscribe(item)
		if err != nil {
			return err
		}
		if proto.IsPattern(symbol) {
			w.patterns = append(w.patterns, book)
			continue
		}
		s := &watched{symbol: symbol, book: book}
		w.all = append(w.all, s)
		if err := w.beside(s); err != nil {
			return err
		}
	}
	return nil
}

// watched is one symbol on display.
type watched struct {
	symbol string
	book   *client.Subscription
	tape   *client.Subscription // nil: trades are not watched
	ticker *client.Subscription // nil: the ticker is not watched
	trades []proto.Trade        // the last ones, newest first
	missed uint64               // trades that did not come
	shown  bool                 // its book was printed once
	notice string               // what is wrong with it; empty: nothing is known
	late   time.Duration        // by how much the server shows it late, on purpose
}

// shownTrades is how many trades of a symbol are kept.
const shownTrades = 5

// printer is a form of output.
type printer interface {
	// update prints s after the event, which is one of s.
	update(s *watched, event client.Event, all []*watched) error
	// connection prints why there is none; nil: there is one.
	connection(err error, retryIn time.Duration, all []*watched) error
	close()
}

// watcher holds what is watched and hands it to a printer as it changes.
type watcher struct {
	all      []*watched
	patterns []*client.Subscription // books of what they match come to all
	beside   func(*watched) error   // subscribes to what is watched beside the book of a symbol
	once     bool
	print    printer
}

// take handles one event. Its error is one of the output.
func (w *watcher) take(event client.Event) error {
	if w.patternEvent(event) {
		return nil
	}
	defer w.tidy()
	switch e := event.(type) {
	case *client.Connected:
		return w.print.connection(nil, 0, w.all)
	case *client.Disconnected:
		return w.print.connection(e.Err, e.RetryIn, w.all)
	case *client.BookSet:
		w.find(e.Sub).notice = ""
		return w.update(e.Sub, event)
	case *client.BookChanged:
		return w.update(e.Sub, event)
	case *client.Alive:
		if w.onScreen() {
			return w.update(e.Sub, event)
		}
	case *client.BookLost:
		return w.warn(e.Sub, event, fmt.Sprintf("book lost (%s), asked for a snapshot, attempt %d", e.Cause, e.Attempt))
	case *client.StatusChanged:
		return w.updateBook(e.Sub, event)
	case *client.Granted:
		if e.Sub.Pattern() != nil {
			if err := w.adopt(e.Sub); err != nil {
				return err
			}
		}
		w.find(e.Sub).late = time.Duration(e.Ack.GetDelayMs()) * time.Millisecond
		if proto.State(e.Ack.GetState()) == proto.Live && !e.Ack.GetResumed() {
			return nil // the snapshot follows
		}
		return w.updateBook(e.Sub, event)
	case *client.TickerChanged:
		return w.update(e.Sub, event)
	case *client.Traded:
		s := w.find(e.Sub)
		for _, t := range e.Trades.Trades {
			s.trades = append([]proto.Trade{t}, s.trades[:min(len(s.trades), shownTrades-1)]...)
		}
		s.missed += e.Trades.Missed
		return w.update(e.Sub, event)
	case *client.Refused:
		notice := fmt.Sprintf("refused (%s): %q", proto.ErrorCodeWord(e.Error.GetCode()), e.Error.GetMessage())
		if e.RetryIn >= 0 {
			notice += fmt.Sprintf(", asked again in %v", e.RetryIn)
		}
		return w.warn(e.Sub, event, notice)
	}
	return nil
}

// warn shows a notice with the symbol, and logs it where no screen would be
// spoiled.
func (w *watcher) warn(sub *client.Subscription, event client.Event, notice string) error {
	w.find(sub).notice = notice
	if !w.onScreen() {
		slog.Warn(notice, "symbol", sub.Item().Symbol)
	}
	return w.update(sub, event)
}

func (w *watcher) onScreen() bool {
	_, ok := w.print.(*screen)
	return ok
}

// updateBook leaves out what the trades channel repeats of the book's state.
func (w *watcher) updateBook(sub *client.Subscription, event client.Event) error {
	if sub.Book() == nil {
		return nil
	}
	return w.update(sub, event)
}

func (w *watcher) update(sub *client.Subscription, event client.Event) error {
	s := w.find(sub)
	if s.book == nil {
		return nil
	}
	whole := s.book.Book().State() != proto.Recovering
	if w.once && (s.shown || !whole) {
		return nil
	}
	s.shown = s.shown || whole
	return w.print.update(s, event, w.all)
}

// find returns the symbol that sub belongs to; one without a book is not on display any
// more.
func (w *watcher) find(sub *client.Subscription) *watched {
	if i := slices.IndexFunc(w.all, func(s *watched) bool { return s.has(sub) }); i >= 0 {
		return w.all[i]
	}
	return &watched{symbol: sub.Item().Symbol}
}

// done reports whether nothing is left to wait for.
func (w *watcher) done() bool {
	follows := func(p *client.Subscription) bool { return !p.Ended() }
	return !slices.ContainsFunc(w.patterns, follows) && !slices.ContainsFunc(w.all, func(s *watched) bool {
		return !s.book.Ended() && !(w.once && s.shown)
	})
}

// refusals says why symbols could not be watched; their end is no error.
func (w *watcher) refusals() error {
	subs := slices.Clone(w.patterns)
	for _, s := range w.all {
		subs = append(subs, s.book)
	}
	return refusalsOf(subs)
}
