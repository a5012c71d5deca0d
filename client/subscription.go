package client

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// ErrBadItem marks an item that no server needs to see.
var ErrBadItem = errors.New("client: bad item")

// Item says what to subscribe to. The server may grant more levels or a longer
// interval than asked: see Granted.
type Item struct {
	// Symbol is a symbol, or a pattern: *, or the beginning of symbols and a *.
	Symbol string

	// Channel is the book, the orders, the trades, the ticker or the instruments; 0:
	// the book.
	Channel proto.Channel

	// Depth is the number of levels a side; 0: all.
	Depth uint32

	// Group sums levels over this price increment, a decimal such as "0.5"; empty:
	// every price by itself.
	Group string

	// Counts asks for the number of orders of each level.
	Counts bool

	// Interval is the least time between deltas, in whole ms; 0: every change.
	Interval time.Duration

	// Policy towards this client when it reads slowly; 0: conflate.
	Policy pb.Policy

	// Last is how many past trades to begin with (trades channel).
	Last uint32
}

func (i *Item) validate() error {
	switch {
	case !proto.ValidSymbol(i.Symbol):
		return fmt.Errorf("%w: %q is no symbol", ErrBadItem, i.Symbol)
	case i.Channel < proto.ChannelBook || i.Channel > proto.ChannelInstruments:
		return fmt.Errorf("%w: channel %s is not supported", ErrBadItem, proto.ChannelWord(i.Channel))
	case i.Interval < 0 || i.Interval%time.Millisecond != 0 || i.Interval.Milliseconds() > math.MaxUint32:
		return fmt.Errorf("%w: interval %v is not in whole milliseconds", ErrBadItem, i.Interval)
	}
	if _, err := proto.ParseGroup(i.Group); err != nil {
		return fmt.Errorf("%w: %w", ErrBadItem, err)
	}
	return nil
}

// standing of a subscription; doc.go has the transitions.
type standing uint8

const (
	waiting standing = iota // to be asked for at due
	asked                   // answer expected by due
	granted                 // has a topic number; due: of a snapshot asked for
	ended
)

// Subscription is one item of a Client. Its methods are for the body of the loop
// over Events.
type Subscription struct {
	item Item
	book *Book // of the channels book and orders
	tape *tape // of the trades channel
	err  error // why it ended; nil where the user ended it

	quote    *quote    // of the ticker channel
	listings *listings // of the instruments channel

	pattern   *pattern      // where it is to one, in the other channels: then it has none of the above
	broughtBy *Subscription // the pattern that has brought it; nil: none
	byPattern bool          // on this connection

	wish      *Item  // what it is to become, and was not asked for yet; nil: nothing else
	before    Item   // while modifying: what it was
	modifying uint32 // id of the request that changes it; 0: none

	standing  standing
	leaving   bool      // the user wants it ended, and its topic number is not known yet
	due       time.Time // of what standing says; zero: nothing is due
	topic     uint32    // 0: none on this connection
	exponents proto.Exponents
	lost      BookLost // the loss that a snapshot is awaited for; Attempt 0: none
}

// Item returns what was asked for.
func (s *Subscription) Item() Item { return s.item }

func newSubscription(item Item) *Subscription {
	s := &Subscription{item: item}
	switch {
	case isWildcard(&item):
		s.pattern = &pattern{brought: map[string]*Subscription{}, declined: map[string]bool{}}
	case item.Channel == proto.ChannelBook:
		s.book = NewBook()
	case item.Channel == proto.ChannelOrders:
		s.book = NewBookByOrder()
	case item.Channel == proto.ChannelTicker:
		s.quote = &quote{}
	case item.Channel == proto.ChannelInstruments:
		s.listings = &listings{}
	default:
		s.tape = &tape{}
	}
	return s
}

// Book returns the book, by order in the orders channel; nil in channels without one,
// and of a pattern.
func (s *Subscription) Book() *Book { return s.book }

// Exponents of the prices and quantities of the trades and levels.
func (s *Subscription) Exponents() proto.Exponents { return s.exponents }

// Ended reports whether nothing will come any more: refused for good, ended by a
// final status, or unsubscribed.
func (s *Subscription) Ended() bool { return s.standing == ended }

// Err says why the subscription ended: a *RefusedError, or ErrFinal. It is nil
// before, and after Unsubscribe.
func (s *Subscription) Err() error { return s.err }

// ErrFinal ends the subscriptions to an instrument that has ended, and those whose
// view of it cannot be made any more (ReasonBadView).
var ErrFinal = errors.New("client: the instrument, or this view of it, has ended")

// RefusedError is a server's refusal that asking again cannot change.
type RefusedError struct {
	Symbol string
	Code   pb.ErrorCode
	Text   string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("client: %s: %s: %s", e.Symbol, proto.ErrorCodeWord(e.Code), e.Text)
}

// request returns the item as sent, with what a resume needs where s has it.
func (s *Subscription) request() *pb.SubscribeItem {
	i := &s.item
	item := &pb.SubscribeItem{
		Symbol: i.Symbol, Channel: pb.Channel(i.Channel), Depth: i.Depth, Group: i.Group, Counts: i.Counts,
		IntervalMs: uint32(i.Interval.Milliseconds()), Policy: i.Policy, Last: i.Last,
	}
	switch {
	case s.book != nil && s.book.whole:
		item.Resume = &pb.Resume{Epoch: s.book.epoch, Seq: s.book.seq, Hash: s.book.hash}
	case s.tape != nil && s.tape.begun:
		item.Resume = &pb.Resume{Epoch: s.tape.epoch, Seq: s.tape.seq, Ordinal: s.tape.ordinal}
	case s.quote != nil && s.quote.known:
		item.Resume = &pb.Resume{Epoch: s.quote.epoch, Seq: s.quote.seq}
	}
	return item
}

// grant takes an ack over.
func (s *Subscription) grant(a *pb.Ack) error {
	exponents, err := exponentsOf(a.PriceExponent, a.QtyExponent)
	if err != nil {
		return err
	}
	same := exponents == s.exponents
	s.standing, s.due, s.topic, s.exponents, s.lost = granted, time.Time{}, a.Topic, exponents, BookLost{}
	switch {
	case s.pattern != nil:
		return nil
	case s.tape != nil:
		s.tape.begin(a.Epoch)
		return nil
	case s.quote != nil:
		s.quote.replace(a.Epoch, same)
		return nil
	case s.listings != nil:
		s.listings.void() // the list follows
		return nil
	}
	b := s.book
	// A server that is behind this client catches up first; then deltas follow, or a
	// snapshot. Until then the book is what it was, and stale.
	behind := a.State == pb.State_STATE_STALE && a.Reason == pb.Reason_REASON_BEHIND
	if !a.Resumed && !behind || a.Epoch != b.epoch || exponents != b.exponents {
		b.Void()
	}
	b.setState(proto.State(a.State), proto.Reason(a.Reason), proto.Phase(a.Phase))
	return nil
}

// disconnect puts s back to the beginning, with what a resume needs.
func (s *Subscription) disconnect(now time.Time) {
	s.topic, s.lost, s.byPattern = 0, BookLost{}, false
	s.modifying = 0 // what was asked for is asked for again, as a subscription
	if s.wish != nil {
		s.item, s.wish = *s.wish, nil
	}
	if s.leaving {
		s.end(nil)
	}
	if s.standing != ended {
		s.standing, s.due = waiting, now
	}
	if s.book != nil {
		s.book.Stale()
	}
}

// end is final.
func (s *Subscription) end(err error) {
	if p := s.broughtBy; p != nil && p.pattern.brought[s.item.Symbol] == s {
		delete(p.pattern.brought, s.item.Symbol)
	}
	s.standing, s.due, s.err, s.leaving = ended, time.Time{}, err, false
	if s.book != nil {
		s.book.Stale()
	}
}
