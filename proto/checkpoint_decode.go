package proto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Bounds of what a checkpoint holds, each checked before anything of that size is
// allocated.
const (
	// MaxSymbolStateBytes bounds the state of one symbol: 1,048,576 orders take 46
	// MB at the utmost, beside what is held back and what codecs keep.
	MaxSymbolStateBytes = 128 << 20
	// MaxCodecStateBytes bounds what a codec keeps of one symbol.
	MaxCodecStateBytes = 16 << 20
	// MaxHeaderBytes bounds a header: 131,072 symbols that have ended take some 30 MB.
	MaxHeaderBytes = 64 << 20
	// MaxTainted bounds the symbols of SharedState.Tainted, and MaxStateFeeds the
	// feeds.
	MaxTainted    = 1 << 16
	MaxStateFeeds = 4096

	maxStateCodecs    = 32
	maxFormatBytes    = 32
	maxStateTrades    = 1 << 16
	maxStateHeld      = 1 << 16
	maxStateHeldBytes = 64 << 20 // of memory; one record more is the most that passes it
)

// ErrChecksum is of what is not as it was written.
var ErrChecksum = errors.New("the checksum differs: damaged or cut off")

// checked returns the message without its checksum, if that is right.
func checked(data []byte, most int) ([]byte, error) {
	if len(data) > most {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), most)
	}
	end := len(data) - 5
	if end < 0 || data[end] != checkpointChecksum<<3|byte(protowire.Fixed32Type) {
		return nil, ErrChecksum
	}
	if crc32.Checksum(data[:end+1], castagnoli) != binary.LittleEndian.Uint32(data[end+1:]) {
		return nil, ErrChecksum
	}
	return data[:end], nil
}

// fields calls f for each field of a message. What f does not know is refused: a
// newer version wrote it, and meant something by it.
func fields(b []byte, f func(f *wireField) (known bool, err error)) error {
	var field wireField
	var err error
	for len(b) > 0 {
		if b, err = nextField(b, &field); err != nil {
			return err
		}
		known, err := f(&field)
		if err != nil {
			return err
		}
		if !known {
			return fmt.Errorf("%w: field %d of wire type %d is not known", ErrBadValue, field.key>>3, field.key&7)
		}
	}
	return nil
}

// DecodeSymbolState decodes what AppendSymbolState wrote into s, reusing its
// slices. Errors: ErrChecksum, ErrTooLarge, ErrMalformed, ErrBadValue; after one s
// is not to be used. What makes sense together is for the books and codecs to say.
func DecodeSymbolState(data []byte, s *SymbolState) error {
	body, err := checked(data, MaxSymbolStateBytes)
	if err != nil {
		return err
	}
	s.Reset()
	err = fields(body, func(f *wireField) (known bool, err error) {
		switch f.key {
		case 1<<3 | bytesKey:
			s.Symbol, err = decodeString("symbol", f.bytes, MaxSymbolBytes, "")
		case 2<<3 | varintKey:
			s.Offset = unzigzag(f.value)
		case 3<<3 | bytesKey:
			s.Claimed = true
			err = decodeClaim(f.bytes, &s.Claim)
		case 4<<3 | bytesKey:
			err = decodeCodec(f.bytes, s)
		case 5<<3 | bytesKey:
			if s.HasBook {
				return false, fmt.Errorf("%w: two books", ErrBadValue)
			}
			s.HasBook = true
			err = decodeBookState(f.bytes, &s.Book)
		case 6<<3 | varintKey:
			s.Tainted = f.value != 0
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil && !ValidSymbol(s.Symbol) {
		err = fmt.Errorf("%w: symbol %q", ErrBadValue, s.Symbol)
	}
	return err
}

// Reset empties s, keeping its slices.
func (s *SymbolState) Reset() {
	b := &s.Book
	*s = SymbolState{
		Codecs: s.Codecs[:0],
		Book: BookState{
			Trades: b.Trades[:0], Held: b.Held[:0], Bids: b.Bids[:0], Asks: b.Asks[:0],
			BidOrders: b.BidOrders[:0], AskOrders: b.AskOrders[:0],
		},
	}
	clear(b.Held[:cap(b.Held)]) // they may be great
}

func decodeClaim(b []byte, c *ClaimState) error {
	var price, qty int32
	err := fields(b, func(f *wireField) (bool, error) {
		switch f.key {
		case 1<<3 | fixed64Key:
			c.First = int64(f.value)
		case 2<<3 | varintKey:
			c.Raw = f.value != 0
		case 3<<3 | varintKey:
			c.Defined = f.value != 0
		case 4<<3 | varintKey:
			price = unzigzag32(f.value)
		case 5<<3 | varintKey:
			qty = unzigzag32(f.value)
		default:
			return false, nil
		}
		return true, nil
	})
	if err == nil {
		c.Exponents, err = checkExponents(price, qty)
	}
	return err
}

func checkExponents(price, qty int32) (x Exponents, err error) {
	if x.Price, err = checkExponent("price_exponent", price); err == nil {
		x.Qty, err = checkExponent("qty_exponent", qty)
	}
	return x, err
}

func decodeCodec(b []byte, s *SymbolState) error {
	var c CodecState
	err := fields(b, func(f *wireField) (known bool, err error) {
		switch f.key {
		case 1<<3 | bytesKey:
			c.Format, err = decodeString("format", f.bytes, maxFormatBytes, "")
		case 2<<3 | bytesKey:
			if len(f.bytes) > MaxCodecStateBytes {
				return false, fmt.Errorf("%w: a codec's state of %d bytes, at most %d", ErrTooLarge, len(f.bytes), MaxCodecStateBytes)
			}
			c.State = f.bytes
		default:
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return err
	}
	n := len(s.Codecs)
	if n >= maxStateCodecs || n > 0 && s.Codecs[n-1].Format >= c.Format {
		return fmt.Errorf("%w: the formats of codecs are too many or not in order", ErrBadValue)
	}
	if n < cap(s.Codecs) {
		old := s.Codecs[:n+1][n].State
		c.State = append(old[:0], c.State...)
	} else {
		c.State = slices.Clone(c.State)
	}
	s.Codecs = append(s.Codecs, c)
	return nil
}

// DecodeCheckpointHeader decodes what AppendCheckpointHeader wrote. Errors as
// DecodeSymbolState. It does not judge the version.
func DecodeCheckpointHeader(data []byte, h *CheckpointHeader) error {
	body, err := checked(data, MaxHeaderBytes)
	if err != nil {
		return err
	}
	*h = CheckpointHeader{}
	return fields(body, func(f *wireField) (known bool, err error) {
		switch f.key {
		case 1<<3 | varintKey:
			h.Version = uint32(f.value)
		case 2<<3 | fixed64Key:
			h.Epoch = f.value
		case 3<<3 | bytesKey:
			if len(f.bytes) != len(h.TopicID) {
				return false, fmt.Errorf("%w: a topic id of %d bytes", ErrBadValue, len(f.bytes))
			}
			copy(h.TopicID[:], f.bytes)
		case 4<<3 | varintKey:
			h.Floor = unzigzag(f.value)
		case 5<<3 | varintKey:
			h.Complete = f.value != 0
		case 6<<3 | bytesKey:
			err = decodeFingerprint(f.bytes, &h.Fingerprint)
		case 7<<3 | bytesKey:
			err = decodeShared(f.bytes, &h.Shared)
		case 8<<3 | varintKey:
			h.Ceiling = unzigzag(f.value)
		case 9<<3 | bytesKey:
			err = decodeFingerprint(f.bytes, &h.Last)
		case 10<<3 | fixed64Key:
			h.Settings = f.value
		case 11<<3 | varintKey:
			h.States = uint32(f.value)
		case 12<<3 | fixed64Key:
			h.Inventory = f.value
		case 13<<3 | bytesKey:
			h.Ended = append(h.Ended, slices.Clone(f.bytes))
		default:
			// A newer version may say more; who reads the version refuses it all.
			return h.Version > CheckpointVersion, nil
		}
		return true, err
	})
}

func decodeFingerprint(b []byte, p *Fingerprint) error {
	return fields(b, func(f *wireField) (bool, error) {
		switch f.key {
		case 1<<3 | varintKey:
			p.Offset = unzigzag(f.value)
		case 2<<3 | fixed64Key:
			p.Time = int64(f.value)
		case 3<<3 | fixed32Key:
			p.CRC = uint32(f.value)
		default:
			return false, nil
		}
		return true, nil
	})
}

func decodeShared(b []byte, s *SharedState) error {
	return fields(b, func(f *wireField) (known bool, err error) {
		switch f.key {
		case 1<<3 | varintKey:
			s.Whole = f.value != 0
		case 2<<3 | bytesKey:
			n := len(s.Tainted)
			if n >= MaxTainted || !ValidSymbol(string(f.bytes)) || n > 0 && s.Tainted[n-1] >= string(f.bytes) {
				return false, fmt.Errorf("%w: tainted symbols that are too many, not in order, or none", ErrBadValue)
			}
			s.Tainted = append(s.Tainted, string(f.bytes))
		case 3<<3 | bytesKey:
			if len(s.Feeds) >= MaxStateFeeds {
				return false, fmt.Errorf("%w: more than %d feeds", ErrTooLarge, MaxStateFeeds)
			}
			var feed FeedState
			err = decodeFeed(f.bytes, &feed)
			s.Feeds = append(s.Feeds, feed)
		default:
			return false, nil
		}
		return true, err
	})
}

func decodeFeed(b []byte, feed *FeedState) error {
	return fields(b, func(f *wireField) (known bool, err error) {
		switch f.key {
		case 1<<3 | bytesKey:
			feed.Name, err = decodeFeedName(f.bytes)
		case 2<<3 | fixed64Key:
			feed.Time = int64(f.value)
		default:
			return false, nil
		}
		return true, err
	})
}

// decodeFeedName reads the name of a feed. One that a record does not name is
// called like its Kafka topic, which may be longer.
func decodeFeedName(b []byte) (string, error) {
	if len(b) > maxKafkaTopicBytes || !utf8.Valid(b) {
		return "", fmt.Errorf("%w: the name of a feed", ErrBadValue)
	}
	return string(b), nil
}

// maxKafkaTopicBytes is Kafka's own bound of a topic's name.
const maxKafkaTopicBytes = 249
