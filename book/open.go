package book

import (
	"fmt"

	"github.com/depthcast/depthcast/proto"
)

// Open opens the view of key for p, which hears of every change from now on.
// Errors: proto.ErrUnknownSymbol, ErrNotReady, ErrUnknownChannel, ErrBadView,
// ErrTooManyGroups.
func (e *Engine) Open(key proto.TopicKey, p Publisher) (*View, error) {
	v, err := e.view(key)
	if err != nil {
		return nil, err
	}
	if v.grouping != nil {
		if err := v.grouping.open(v.book); err != nil {
			return nil, err
		}
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

// Read fills s with the state of key, without a view that stays. Errors as Open,
// but ErrTooManyGroups.
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
		if key.View.Counts || !key.View.Group.None() {
			return nil, fmt.Errorf("%w: orders with counts or groups", proto.ErrBadView)
		}
	default:
		return nil, fmt.Errorf("book: %s: %w", key.Symbol, proto.ErrUnknownChannel)
	}
	if key.View.Depth > maxDepth {
		return nil, fmt.Errorf("%w: depth %d, at most %d", proto.ErrBadView, key.View.Depth, maxDepth)
	}
	v.bids, v.asks = &b.bids, &b.asks
	if !key.View.Group.None() {
		g, err := b.grouping(key.View.Group)
		if err != nil {
			return nil, err
		}
		v.grouping, v.bids, v.asks = g, &g.bids.side, &g.asks.side
	}
	v.judge(b.shown())
	if v.shown {
		v.rebuild()
	}
	v.partial = v.reaches()
	return v, nil
}
