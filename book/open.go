package book

import (
	"fmt"

	"github.com/depthcast/depthcast/proto"
)

// Open opens the view of key for p, which hears of every change from now on.
// Errors: proto.ErrUnknownSymbol, ErrNotReady, ErrUnknownChannel, ErrBadView.
func (e *Engine) Open(key proto.TopicKey, p Publisher) (*View, error) {
	v, err := e.view(key)
	if err != nil {
		return nil, err
	}
	v.to, v.last = p, v.book.seq
	if v.ticker != nil {
		v.book.ticker(v.ticker)
	}
	v.book.views = append(v.book.views, v)
	if key.Channel == proto.ChannelOrders {
		v.book.orderViews++
	}
	e.views = append(e.views, v)
	return v, nil
}

// Read fills s with the state of key, without a view that stays. Errors as Open.
func (e *Engine) Read(key proto.TopicKey, s *proto.Snapshot) error {
	v, err := e.view(key)
	if err != nil {
		return err
	}
	v.Snapshot(s)
	return nil
}

// view makes the view of key as the book stands.
func (e *Engine) view(key proto.TopicKey) (*View, error) {
	b := e.books[key.Symbol]
	if b == nil || b.ended {
		if e.catchingUp {
			return nil, fmt.Errorf("book: %s: %w", key.Symbol, proto.ErrNotReady)
		}
		return nil, fmt.Errorf("book: %s: %w", key.Symbol, proto.ErrUnknownSymbol)
	}
	v := &View{book: b, key: key, depth: int(key.View.Depth)}
	switch key.Channel {
	case proto.ChannelTrades, proto.ChannelInstruments:
		return v, nil
	case proto.ChannelTicker:
		v.ticker = &proto.Ticker{}
		return v, nil
	case proto.ChannelBook:
	case proto.ChannelOrders:
		if b.kind == keptByLevel {
			return nil, e.noOrders(b)
		}
		if key.View.Counts {
			return nil, fmt.Errorf("book: %s: orders with counts: %w", key.Symbol, proto.ErrBadView)
		}
	default:
		return nil, fmt.Errorf("book: %s: %w", key.Symbol, proto.ErrUnknownChannel)
	}
	if key.View.Depth > maxDepth {
		return nil, fmt.Errorf("%w: depth %d, at most %d", proto.ErrBadView, key.View.Depth, maxDepth)
	}
	if !key.View.Group.None() {
		return nil, fmt.Errorf("%w: grouping by price is not served", proto.ErrBadView)
	}
	if b.shown() {
		v.rebuild()
	}
	return v, nil
}
