package ring

import (
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// Status is the ring's answer to a reader.
type Status uint8

const (
	OK     Status = iota // here is the entry
	Empty                // not yet published
	Lapped               // published, and gone
)

func (s Status) String() string {
	switch s {
	case OK:
		return "ok"
	case Empty:
		return "empty"
	case Lapped:
		return "lapped"
	}
	return "invalid"
}

// Entry is one element of a ring. Its maker fills in Value and hands the entry
// to Publish; from then on it is shared by all readers and never changes, save
// for what Value itself declares atomic.
type Entry[T any] struct {
	Value T

	position uint64
	total    uint64
	at       int64
	levels   uint32
	bytes    uint32
}

// Position returns the place of the entry in its ring, counted from 1.
func (e *Entry[T]) Position() uint64 { return e.position }

// Levels returns the number of levels the entry was published with.
func (e *Entry[T]) Levels() uint32 { return e.levels }

// Total returns the levels of this entry and of all before it in its ring, so
// that the difference of two totals is the size of the range between them.
func (e *Entry[T]) Total() uint64 { return e.total }

// At returns the time the entry was published with, in the caller's nanoseconds.
func (e *Entry[T]) At() int64 { return e.at }

// size returns the bytes for which the entry counts.
func (e *Entry[T]) size() int64 { return int64(e.bytes) + int64(unsafe.Sizeof(*e)) }

// slots is one array of a ring; its length is a power of two.
type slots[T any] []atomic.Pointer[Entry[T]]

func (s slots[T]) at(position uint64) *atomic.Pointer[Entry[T]] {
	return &s[position&uint64(len(s)-1)]
}

// Ring holds the newest entries of one topic. The zero Ring is of no use; see New.
type Ring[T any] struct {
	writing writerCheck // empty unless built with the tag verify

	// Static after New.
	config Config

	// Owned by the writer.
	total uint64 // levels of all entries ever published
	bytes int64  // sizes of the entries present; part of config.Budget

	// Written by the writer, read by all.
	array  atomic.Pointer[slots[T]]
	head   atomic.Uint64 // position of the newest entry; 0 before the first
	oldest atomic.Uint64 // position of the oldest entry present; head+1 when there is none
}

// New returns an empty ring, or an error that wraps ErrConfig.
func New[T any](c Config) (*Ring[T], error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	r := &Ring[T]{config: c}
	array := make(slots[T], c.MinEntries)
	r.array.Store(&array)
	r.oldest.Store(1)
	return r, nil
}

// Publish makes e visible to readers and returns its position, one more than the
// last. It never waits and allocates only when the ring grows: readers that are
// too far behind find themselves lapped. Only the writer may call it (the holder
// of the lock under which the topic is published).
//
// levels is the weight of e in Total. bytes is the size of what e refers to, now
// and later (frames made from it); the size of the entry itself is added here.
// now is the time in nanoseconds of any clock that the caller uses throughout;
// only differences count.
//
// e must be new: an entry is published once, in one ring.
func (r *Ring[T]) Publish(e *Entry[T], levels, bytes uint32, now int64) uint64 {
	r.writing.enter()
	defer r.writing.leave()
	r.writing.fresh(e.position)

	e.position = r.head.Load() + 1
	e.levels, e.bytes, e.at = levels, bytes, now
	r.total += uint64(levels)
	e.total = r.total

	size := e.size()
	r.bytes += size
	over := max(r.bytes-r.config.MaxBytes, r.config.Budget.add(size))
	if floor := r.floor(e.position, over, now); floor > r.oldest.Load() {
		r.announce(floor)
		r.giveUp(floor)
	}

	r.array.Load().at(e.position).Store(e)
	r.head.Store(e.position)
	return e.position
}

// floor returns the oldest position to keep when next is to be published and
// over bytes are too many. It grows the ring when that keeps young entries.
func (r *Ring[T]) floor(next uint64, over, now int64) uint64 {
	floor := r.oldest.Load()
	array := *r.array.Load()
	for over > 0 && next-floor >= uint64(r.config.KeepEntries) {
		over -= array.at(floor).Load().size()
		floor++
	}
	full := next-floor >= uint64(len(array))
	if !full {
		return floor
	}
	young := now-array.at(floor).Load().at < int64(r.config.Window)
	if young && len(array) < r.config.MaxEntries {
		r.resize(2 * len(array))
		return floor
	}
	return floor + 1
}

func (r *Ring[T]) announce(floor uint64) {
	if r.config.BeforeGiveUp != nil {
		r.config.BeforeGiveUp(floor)
	}
}

// giveUp makes every position below floor read as Lapped and returns its bytes.
func (r *Ring[T]) giveUp(floor uint64) {
	oldest := r.oldest.Load()
	// Raised first, so that Oldest never names what is already gone.
	r.oldest.Store(floor)
	array := *r.array.Load()
	var freed int64
	for position := oldest; position < floor; position++ {
		slot := array.at(position)
		freed += slot.Load().size()
		slot.Store(nil)
	}
	r.bytes -= freed
	r.config.Budget.add(-freed)
}

// resize moves the entries present to an array of n slots, which must hold them.
// Readers may go on using the old array, which is left as it is.
func (r *Ring[T]) resize(n int) {
	old, array := *r.array.Load(), make(slots[T], n)
	for position := r.oldest.Load(); position <= r.head.Load(); position++ {
		array.at(position).Store(old.at(position).Load())
	}
	r.array.Store(&array)
}

// Expire gives up the entries published before the time given (on the clock of
// Publish), except for the newest Config.KeepEntries, and returns to the heap
// the slots that are then far too many. The owner of a topic calls it from time
// to time: it is what makes a ring that has gone quiet small again. Only the
// writer may call it.
func (r *Ring[T]) Expire(before int64) {
	r.writing.enter()
	defer r.writing.leave()

	floor, head := r.oldest.Load(), r.head.Load()
	array := *r.array.Load()
	for head+1-floor > uint64(r.config.KeepEntries) && array.at(floor).Load().at < before {
		floor++
	}
	if floor > r.oldest.Load() {
		r.announce(floor)
		r.giveUp(floor)
	}

	// Twice what is needed, so that the next few entries do not grow it again.
	fitting := max(r.config.MinEntries, 1<<bits.Len64(2*(head+1-floor)))
	if fitting <= len(array)/4 {
		r.resize(fitting)
	}
}

// Release gives up everything, without BeforeGiveUp, and returns the bytes to the
// budget. Readers are told Lapped for all that was published. Only the writer may
// call it, when the topic ends.
func (r *Ring[T]) Release() {
	r.writing.enter()
	defer r.writing.leave()

	r.giveUp(r.head.Load() + 1)
	r.resize(r.config.MinEntries)
}

// Bytes returns the size of the entries present. Only the writer may ask.
func (r *Ring[T]) Bytes() int64 { return r.bytes }
