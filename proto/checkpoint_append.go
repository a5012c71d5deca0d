package proto

import (
	"cmp"
	"hash/crc32"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// checkpointChecksum is the field of the checksum, the last in each message that
// is stored by itself.
const checkpointChecksum = 15

// castagnoli finds every single damaged bit, and every run of up to 32.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendChecksum ends the message that dst holds from the given place on. Unlike
// other fields it is there also as 0.
func appendChecksum(dst []byte, from int) []byte {
	dst = appendTag(dst, checkpointChecksum, fixed32Type)
	return protowire.AppendFixed32(dst, crc32.Checksum(dst[from:], castagnoli))
}

// AppendSymbolState appends s as the message SymbolState. It sorts s's orders.
func AppendSymbolState(dst []byte, s *SymbolState) []byte {
	from := len(dst)
	dst = appendString(dst, 1, s.Symbol)
	dst = appendUint(dst, 2, zigzag(s.Offset))
	if s.Claimed {
		dst = appendClaim(dst, &s.Claim)
	}
	for i := range s.Codecs {
		c := &s.Codecs[i]
		dst = appendNested(dst, 4, sizeString(1, c.Format)+sizeBytes(2, c.State))
		dst = appendBytes(appendString(dst, 1, c.Format), 2, c.State)
	}
	if s.HasBook {
		dst = appendBookState(dst, &s.Book)
	}
	dst = appendBool(dst, 6, s.Tainted)
	return appendChecksum(dst, from)
}

func sizeBytes(field uint32, b []byte) int {
	if len(b) == 0 {
		return 0
	}
	return sizeNested(field, len(b))
}

func appendBytes(dst []byte, field uint32, b []byte) []byte {
	if len(b) == 0 {
		return dst
	}
	return append(appendNested(dst, field, len(b)), b...)
}

func appendClaim(dst []byte, c *ClaimState) []byte {
	price, qty := zigzag(int64(c.Exponents.Price)), zigzag(int64(c.Exponents.Qty))
	dst = appendNested(dst, 3, sizeFixed64(1, uint64(c.First))+sizeBool(2, c.Raw)+sizeBool(3, c.Defined)+
		sizeUint(4, price)+sizeUint(5, qty))
	dst = appendFixed64(dst, 1, uint64(c.First))
	dst = appendBool(dst, 2, c.Raw)
	dst = appendBool(dst, 3, c.Defined)
	return appendUint(appendUint(dst, 4, price), 5, qty)
}

// appendBookState appends the book. What is small is written aside first, to learn
// its size; of levels and orders the size is computed.
func appendBookState(dst []byte, b *BookState) []byte {
	sortOrders(b.BidOrders, true)
	sortOrders(b.AskOrders, false)
	bids, asks := sizeLevels(b.Bids, anyCount(b.Bids)), sizeLevels(b.Asks, anyCount(b.Asks))
	bidOrders, askOrders := sizeRanked(b.BidOrders), sizeRanked(b.AskOrders)

	facts := appendBookFacts(nil, b)
	size := len(facts) + bids.outerSize(30) + asks.outerSize(31) +
		bidOrders.outerSize(32) + askOrders.outerSize(33) + sizeFixed32(34, b.Hash)
	dst = slices.Grow(dst, size+32)
	dst = appendNested(dst, 5, size)
	dst = append(dst, facts...)
	dst = appendLevels(dst, 30, b.Bids, bids)
	dst = appendLevels(dst, 31, b.Asks, asks)
	dst = appendRanked(dst, 32, b.BidOrders, bidOrders)
	dst = appendRanked(dst, 33, b.AskOrders, askOrders)
	return appendFixed32(dst, 34, b.Hash)
}

// appendBookFacts appends all of a book but its levels and orders.
func appendBookFacts(dst []byte, b *BookState) []byte {
	dst = appendFixed64(dst, 1, b.Epoch)
	dst = appendUint(dst, 2, zigzag(b.Seq))
	chain := appendChain(nil, &b.Chain)
	dst = append(appendNested(dst, 3, len(chain)), chain...)
	dst = appendUint(dst, 4, uint64(b.Kind))
	dst = appendBool(dst, 5, b.Whole)
	dst = appendBool(dst, 6, b.Fresh)
	dst = appendUint(dst, 7, uint64(b.Reason))
	dst = appendUint(dst, 8, uint64(b.Phase))
	dst = appendOptional(dst, 9, zigzag(b.Indicative.Price), b.Indicative.HasPrice)
	dst = appendOptional(dst, 10, uint64(b.Indicative.Qty), b.Indicative.HasQty)
	dst = appendUint(dst, 11, zigzag(int64(b.Exponents.Price)))
	dst = appendUint(dst, 12, zigzag(int64(b.Exponents.Qty)))
	dst = appendUint(dst, 13, uint64(b.Limit))
	dst = appendOptional(dst, 14, zigzag(b.KnownBid.Value), b.KnownBid.Set)
	if b.Instrument != nil {
		dst = appendNested(dst, 15, sizeInstrument(b.Instrument))
		dst = appendInstrument(dst, b.Instrument)
	}
	dst = appendString(dst, 16, b.Feed)
	dst = appendFixed64(dst, 17, uint64(b.FeedTime))
	dst = appendStateTimes(dst, b.Times)
	if b.Session != (Session{}) {
		session := appendSession(nil, &b.Session)
		dst = append(appendNested(dst, 19, len(session)), session...)
	}
	dst = appendUint(dst, 20, b.TradeOrdinal)
	for i := range b.Trades {
		dst = appendPublicTrade(appendNested(dst, 21, sizePublicTrade(&b.Trades[i])), &b.Trades[i])
	}
	dst = appendUint(dst, 22, uint64(endReasonOf(b.EndReason)))
	dst = appendString(dst, 23, b.NewSymbol)
	dst = appendUint(dst, 24, zigzag(b.EndedAt))
	var events []byte
	for i := range b.Held {
		h := b.Held[i]
		feed := h.Feed
		h.Feed = ""
		events = AppendEvents(events[:0], &h)
		dst = appendNested(dst, 25, sizeUint(1, zigzag(h.Seq))+sizeFixed64(2, uint64(h.KafkaTime))+
			sizeString(3, feed)+sizeNested(4, len(events)))
		dst = appendFixed64(appendUint(dst, 1, zigzag(h.Seq)), 2, uint64(h.KafkaTime))
		dst = append(appendNested(appendString(dst, 3, feed), 4, len(events)), events...)
	}
	dst = appendUint(dst, 26, b.Need)
	return appendOptional(dst, 27, zigzag(b.KnownAsk.Value), b.KnownAsk.Set)
}

// appendStateTimes keeps both venue times, also where they are the same.
func appendStateTimes(dst []byte, t Times) []byte {
	size := sizeFixed64(1, uint64(t.VenueFirst)) + sizeFixed64(2, uint64(t.Venue)) + sizeFixed64(3, uint64(t.Kafka))
	if size == 0 {
		return dst
	}
	dst = appendFixed64(appendNested(dst, 18, size), 1, uint64(t.VenueFirst))
	return appendFixed64(appendFixed64(dst, 2, uint64(t.Venue)), 3, uint64(t.Kafka))
}

func appendChain(dst []byte, c *ChainState) []byte {
	dst = appendUint(dst, 1, zigzag(c.Offset))
	dst = appendFixed64(dst, 2, c.Epoch)
	dst = appendUint(dst, 3, zigzag(c.Origin))
	dst = appendUint(dst, 4, c.Generation)
	dst = appendString(dst, 5, c.Session)
	dst = appendUint(dst, 6, c.Source)
	dst = appendString(dst, 7, c.Former)
	dst = appendUint(dst, 8, c.FormerSource)
	return appendFixed64(dst, 9, uint64(c.Venue))
}

// numbers and flags are the fields of SessionState: from 1 on, and from 13 on.
func (s *Session) numbers() [9]*Optional {
	return [...]*Optional{
		&s.Last, &s.LastQty, &s.Open, &s.High, &s.Low, &s.PreviousClose, &s.Settlement, &s.Volume, &s.OpenInterest,
	}
}

func (s *Session) flags() [7]*bool {
	return [...]*bool{&s.Whole, &s.Traded, &s.Over, &s.VolumeStated, &s.HighInDoubt, &s.LowInDoubt, &s.Placed}
}

func appendSession(dst []byte, s *Session) []byte {
	for i, o := range s.numbers() {
		dst = appendOptional(dst, uint32(1+i), zigzag(o.Value), o.Set)
	}
	dst = appendUint(appendUint(appendUint(dst, 10, s.LastID), 11, s.OpenID), 12, s.First)
	for i, flag := range s.flags() {
		dst = appendBool(dst, uint32(13+i), *flag)
	}
	return dst
}

// sortOrders puts orders in priority: best price first, then by rank.
func sortOrders(orders []RankedOrder, bids bool) {
	slices.SortFunc(orders, func(a, b RankedOrder) int {
		if a.Price == b.Price {
			return cmp.Or(cmp.Compare(a.RankSeq, b.RankSeq), cmp.Compare(a.RankIndex, b.RankIndex))
		}
		if bids == (a.Price > b.Price) {
			return -1
		}
		return 1
	})
}

// AppendCheckpointHeader appends h as the message CheckpointHeader.
func AppendCheckpointHeader(dst []byte, h *CheckpointHeader) []byte {
	from := len(dst)
	dst = appendUint(dst, 1, uint64(h.Version))
	dst = appendFixed64(dst, 2, h.Epoch)
	dst = appendBytes(dst, 3, h.TopicID[:])
	dst = appendUint(dst, 4, zigzag(h.Floor))
	dst = appendBool(dst, 5, h.Complete)
	dst = appendFingerprint(dst, 6, &h.Fingerprint)
	shared := appendShared(nil, &h.Shared)
	dst = append(appendNested(dst, 7, len(shared)), shared...)
	dst = appendUint(dst, 8, zigzag(h.Ceiling))
	dst = appendFingerprint(dst, 9, &h.Last)
	dst = appendFixed64(dst, 10, h.Settings)
	dst = appendUint(dst, 11, uint64(h.States))
	dst = appendFixed64(dst, 12, h.Inventory)
	for _, state := range h.Ended {
		dst = append(appendNested(dst, 13, len(state)), state...)
	}
	return appendChecksum(dst, from)
}

func appendFingerprint(dst []byte, field uint32, f *Fingerprint) []byte {
	dst = appendNested(dst, field, sizeUint(1, zigzag(f.Offset))+sizeFixed64(2, uint64(f.Time))+sizeFixed32(3, f.CRC))
	dst = appendFixed64(appendUint(dst, 1, zigzag(f.Offset)), 2, uint64(f.Time))
	return appendFixed32(dst, 3, f.CRC)
}

func appendShared(dst []byte, s *SharedState) []byte {
	dst = appendBool(dst, 1, s.Whole)
	for _, name := range s.Tainted {
		dst = append(appendNested(dst, 2, len(name)), name...)
	}
	for i := range s.Feeds {
		f := &s.Feeds[i]
		dst = appendNested(dst, 3, sizeString(1, f.Name)+sizeFixed64(2, uint64(f.Time)))
		dst = appendFixed64(appendString(dst, 1, f.Name), 2, uint64(f.Time))
	}
	return dst
}
