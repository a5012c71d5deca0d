package book

import (
	"math"

	"github.com/depthcast/depthcast/proto"
)

// session is a symbol's trading session as trades and the venue's statistics tell
// it. What is not known to be right is not set: nothing is invented, and what
// cannot be put right is given up.
//
//   - A session begins with clear session_start, and with the first other phase
//     after closed. Then last, open, high, low and previous close are unknown, and
//     the volume is 0. Settlement and open interest stay. The first phase that is
//     seen, or seen after a gap, may be the first of a session: what was known is
//     given up.
//   - Of trades count all but those off the book. last and last_qty are those of the
//     newest. open, high, low and volume come from trades only where the session's
//     beginning was seen and no trade is missing since.
//   - Statistics take the place of what was known. After them trades go on moving
//     last, high and low, but neither open nor volume: a venue's sum and one of
//     trades would count some twice.
//   - Trades that are missing (a record refused, executions in a book that is not
//     whole) take last, high, low and, unless the venue stated them, open and volume
//     with them. Where anything may be missing (a gap), all is unknown.
//   - A trade taken back or put right changes the volume by what it had, and last
//     and open if it was the one; it leaves an extreme in doubt that it may have
//     made, until a trade reaches that price again. One that is older than the
//     trades kept cannot be undone: volume, high and low are unknown then. What the
//     venue stated of last, open and volume stays until it states otherwise.
type session proto.Session

func set(v int64) proto.Optional { return proto.Optional{Value: v, Set: true} }

// begin begins a session after the trade with that ordinal.
func (s *session) begin(ordinal uint64) {
	*s = session{
		Settlement: s.Settlement, OpenInterest: s.OpenInterest,
		Volume: set(0), Whole: true, First: ordinal, Placed: true,
	}
}

// miss gives up what depends on every trade, and on every word about one.
func (s *session) miss() {
	if s.OpenID != 0 {
		s.Open, s.OpenID = proto.Optional{}, 0
	}
	s.Whole, s.HighInDoubt, s.LowInDoubt = false, false, false
	s.Last, s.LastQty, s.LastID = proto.Optional{}, proto.Optional{}, 0
	s.High, s.Low = proto.Optional{}, proto.Optional{}
	if !s.VolumeStated {
		s.Volume = proto.Optional{}
	}
}

// forget gives up everything.
func (s *session) forget() { *s = session{} }

// rescale gives up what is in other exponents than those to come. A session in
// which nothing has happened yet goes on.
func (s *session) rescale() {
	begun := s.Whole && !s.Traded
	kept := session{Placed: s.Placed, Over: s.Over}
	if begun {
		kept.Whole, kept.Volume, kept.First = true, set(0), s.First
	}
	*s = kept
}

// enter takes note of a phase; ordinal is that of the last trade.
func (s *session) enter(p proto.Phase, ordinal uint64) {
	switch {
	case p == proto.Closed:
		s.Over = true
	case s.Over:
		s.begin(ordinal)
	case !s.Placed:
		s.forget() // it may have begun with this
		s.Placed = true
	}
}

// state takes over what the venue states.
func (s *session) state(v *proto.Statistics) {
	for _, f := range [...]struct{ from, to *proto.Optional }{
		{&v.PreviousClose, &s.PreviousClose}, {&v.Settlement, &s.Settlement}, {&v.OpenInterest, &s.OpenInterest},
		{&v.Open, &s.Open}, {&v.High, &s.High}, {&v.Low, &s.Low}, {&v.Volume, &s.Volume},
	} {
		if f.from.Set {
			*f.to = *f.from
		}
	}
	if v.Open.Set {
		s.OpenID = 0
	}
	s.HighInDoubt = s.HighInDoubt && !v.High.Set
	s.LowInDoubt = s.LowInDoubt && !v.Low.Set
	s.VolumeStated = s.VolumeStated || v.Volume.Set
	if v.Last.Set && v.Last != s.Last {
		s.Last, s.LastQty, s.LastID = v.Last, proto.Optional{}, 0
	}
}

// trade counts a trade.
func (s *session) trade(t *proto.Trade) {
	if t.Flags&proto.TradeOffBook != 0 {
		return
	}
	s.Last, s.LastQty, s.LastID = set(t.Price), set(t.Qty), t.ID
	first := s.Whole && !s.Traded
	if first && !s.Open.Set {
		s.Open, s.OpenID = set(t.Price), t.ID
	}
	if s.High.Set && t.Price >= s.High.Value || first && !s.High.Set {
		s.High, s.HighInDoubt = set(t.Price), false
	}
	if s.Low.Set && t.Price <= s.Low.Value || first && !s.Low.Set {
		s.Low, s.LowInDoubt = set(t.Price), false
	}
	s.Traded = true
	s.count(t.Qty)
}

// count adds to a volume that comes from trades.
func (s *session) count(qty int64) {
	if s.VolumeStated || !s.Volume.Set {
		return
	}
	if qty > 0 && s.Volume.Value > math.MaxInt64-qty {
		s.Volume, s.Whole = proto.Optional{}, false
		return
	}
	s.Volume.Value += qty
}

// amend takes a trade back, or gives it another price and quantity: now, nil where
// it is taken back. was is what had been said of it.
func (s *session) amend(id uint64, was terms, now *proto.Trade) {
	if was.gone || was.trade.Flags&proto.TradeOffBook != 0 {
		return
	}
	if s.LastID == id {
		s.Last, s.LastQty, s.LastID = proto.Optional{}, proto.Optional{}, 0
		if now != nil {
			s.Last, s.LastQty, s.LastID = set(now.Price), set(now.Qty), id
		}
	}
	if s.OpenID == id {
		s.Open, s.OpenID = proto.Optional{}, 0
		if now != nil {
			s.Open, s.OpenID = set(now.Price), id
		}
	}
	sure := was.found && s.Whole // else a word about it may be missing
	if sure && was.trade.Ordinal <= s.First || !was.found && was.known && s.Whole {
		return // of an earlier session
	}
	s.HighInDoubt = s.HighInDoubt || !sure || was.trade.Price >= s.High.Value
	s.LowInDoubt = s.LowInDoubt || !sure || was.trade.Price <= s.Low.Value
	switch {
	case sure:
		s.count(-was.trade.Qty)
	case !s.VolumeStated:
		s.Volume, s.Whole = proto.Optional{}, false
	}
	if now == nil {
		return
	}
	if s.High.Set && now.Price >= s.High.Value {
		s.HighInDoubt = !sure && (s.HighInDoubt || now.Price > s.High.Value)
		s.High = set(now.Price)
	}
	if s.Low.Set && now.Price <= s.Low.Value {
		s.LowInDoubt = !sure && (s.LowInDoubt || now.Price < s.Low.Value)
		s.Low = set(now.Price)
	}
	if sure {
		s.count(now.Qty)
	}
}

// ticker fills in what is known of the session.
func (s *session) ticker(t *proto.Ticker) {
	t.Last, t.LastQty, t.Open, t.PreviousClose = s.Last, s.LastQty, s.Open, s.PreviousClose
	t.Settlement, t.Volume, t.OpenInterest = s.Settlement, s.Volume, s.OpenInterest
	if !s.HighInDoubt {
		t.High = s.High
	}
	if !s.LowInDoubt {
		t.Low = s.Low
	}
	from := s.Open
	if !from.Set {
		from = s.PreviousClose
	}
	if change := s.Last.Value - from.Value; s.Last.Set && from.Set && (change >= 0) == (s.Last.Value >= from.Value) {
		t.Change = set(change)
	}
}
