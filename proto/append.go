package proto

import (
	"math/bits"

	"google.golang.org/protobuf/encoding/protowire"
)

// This file and append_*.go encode the plain types straight into protobuf. Sizes
// are computed first, so that the length before each nested message is exact and
// nothing is moved. The output equals that of the generated code with
// deterministic marshalling, byte for byte: fields by rising number, what has its
// default left out. Nothing is allocated but what dst lacks.

// TopicForm says how the frames of one topic are written.
type TopicForm struct {
	Topic     uint32    // number that acks gave it
	Counts    bool      // the view carries order counts
	Exponents Exponents // of the topic's last ack or snapshot; JSON writes decimals under them
}

// Wire types of fields, as in a tag.
const (
	varintType  = uint32(protowire.VarintType)
	fixed32Type = uint32(protowire.Fixed32Type)
	fixed64Type = uint32(protowire.Fixed64Type)
	bytesType   = uint32(protowire.BytesType)
)

// Field numbers from 16 on have tags of two bytes.
func sizeTag(field uint32) int {
	if field < 16 {
		return 1
	}
	return 2
}

func appendTag(dst []byte, field, wireType uint32) []byte {
	return appendVarint(dst, uint64(field<<3|wireType))
}

func sizeVarint(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func appendVarint(dst []byte, v uint64) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

func zigzag(v int64) uint64 { return uint64(v)<<1 ^ uint64(v>>63) }

// The pairs below size and append one field that is left out at its zero value.

func sizeUint(field uint32, v uint64) int {
	if v == 0 {
		return 0
	}
	return sizeTag(field) + sizeVarint(v)
}

func appendUint(dst []byte, field uint32, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return appendVarint(appendTag(dst, field, varintType), v)
}

func sizeBool(field uint32, v bool) int {
	if !v {
		return 0
	}
	return sizeTag(field) + 1
}

func appendBool(dst []byte, field uint32, v bool) []byte {
	if !v {
		return dst
	}
	return append(appendTag(dst, field, varintType), 1)
}

func sizeFixed64(field uint32, v uint64) int {
	if v == 0 {
		return 0
	}
	return sizeTag(field) + 8
}

func appendFixed64(dst []byte, field uint32, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendFixed64(appendTag(dst, field, fixed64Type), v)
}

func sizeFixed32(field uint32, v uint32) int {
	if v == 0 {
		return 0
	}
	return sizeTag(field) + 4
}

func appendFixed32(dst []byte, field, v uint32) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendFixed32(appendTag(dst, field, fixed32Type), v)
}

func sizeString(field uint32, s string) int {
	if s == "" {
		return 0
	}
	return sizeNested(field, len(s))
}

func appendString(dst []byte, field uint32, s string) []byte {
	if s == "" {
		return dst
	}
	return append(appendNested(dst, field, len(s)), s...)
}

// A number with presence is written whenever it is there, also as zero.

func sizeOptional(field uint32, v uint64, there bool) int {
	if !there {
		return 0
	}
	return sizeTag(field) + sizeVarint(v)
}

func appendOptional(dst []byte, field uint32, v uint64, there bool) []byte {
	if !there {
		return dst
	}
	return appendVarint(appendTag(dst, field, varintType), v)
}

// sizeNested returns the size of a field that holds size bytes.
func sizeNested(field uint32, size int) int {
	return sizeTag(field) + sizeVarint(uint64(size)) + size
}

// appendNested appends the tag and length of a field; size bytes must follow.
func appendNested(dst []byte, field uint32, size int) []byte {
	return appendVarint(appendTag(dst, field, bytesType), uint64(size))
}

// levelsSize holds the sizes of the arrays within one Levels message.
type levelsSize struct {
	price, qty, count int
	total             int // of the message; 0: no levels, so it is left out
}

func sizeLevels(levels []Level, counts bool) levelsSize {
	var s levelsSize
	if len(levels) == 0 {
		return s
	}
	last := int64(0)
	for i := range levels {
		l := &levels[i]
		s.price += sizeVarint(zigzag(l.Price - last))
		s.qty += sizeVarint(uint64(l.Qty))
		last = l.Price
	}
	s.total = sizeNested(1, s.price) + sizeNested(2, s.qty)
	if counts {
		for i := range levels {
			s.count += sizeVarint(uint64(levels[i].Count))
		}
		s.total += sizeNested(3, s.count)
	}
	return s
}

// appendLevels appends a Levels message as the given field, unless it is empty.
func appendLevels(dst []byte, field uint32, levels []Level, s levelsSize) []byte {
	if s.total == 0 {
		return dst
	}
	dst = appendNested(dst, field, s.total)
	dst = appendNested(dst, 1, s.price)
	last := int64(0)
	for i := range levels {
		dst = appendVarint(dst, zigzag(levels[i].Price-last))
		last = levels[i].Price
	}
	dst = appendNested(dst, 2, s.qty)
	for i := range levels {
		dst = appendVarint(dst, uint64(levels[i].Qty))
	}
	if s.count > 0 {
		dst = appendNested(dst, 3, s.count)
		for i := range levels {
			dst = appendVarint(dst, uint64(levels[i].Count))
		}
	}
	return dst
}

// outerSize returns the size that a Levels message adds to the one around it.
func (s levelsSize) outerSize(field uint32) int {
	if s.total == 0 {
		return 0
	}
	return sizeNested(field, s.total)
}

func sizeTimes(t Times) int {
	return sizeFixed64(1, uint64(wireVenueFirst(t))) + sizeFixed64(2, uint64(t.Venue)) +
		sizeFixed64(3, uint64(t.Kafka)) + sizeFixed64(4, uint64(t.Published))
}

// appendTimes appends a Times message of the given size as a field, unless
// nothing is known.
func appendTimes(dst []byte, field uint32, t Times, size int) []byte {
	if size == 0 {
		return dst
	}
	dst = appendNested(dst, field, size)
	dst = appendFixed64(dst, 1, uint64(wireVenueFirst(t)))
	dst = appendFixed64(dst, 2, uint64(t.Venue))
	dst = appendFixed64(dst, 3, uint64(t.Kafka))
	return appendFixed64(dst, 4, uint64(t.Published))
}

func sizeTimesField(field uint32, size int) int {
	if size == 0 {
		return 0
	}
	return sizeNested(field, size)
}

// wireVenueFirst is left out where it says nothing beyond Venue.
func wireVenueFirst(t Times) int64 {
	if t.VenueFirst == t.Venue {
		return 0
	}
	return t.VenueFirst
}

// wireMerged is left out where nothing was merged.
func wireMerged(merged uint32) uint32 {
	if merged < 2 {
		return 0
	}
	return merged
}
