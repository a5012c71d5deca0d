package ring

// Get returns the entry at position, or Empty if it is yet to be published, or
// Lapped if it is gone. Position 0 stands before everything and is always Lapped.
// It neither waits nor allocates. Any goroutine may call it.
func (r *Ring[T]) Get(position uint64) (*Entry[T], Status) {
	// The head before the array: see the package comment.
	if position > r.head.Load() {
		return nil, Empty
	}
	e := r.array.Load().at(position).Load()
	if e == nil || e.position != position {
		return nil, Lapped
	}
	return e, OK
}

// Head returns the position of the newest entry, 0 before the first. Any
// goroutine may call it.
func (r *Ring[T]) Head() uint64 { return r.head.Load() }

// Oldest returns the position of the oldest entry present, or Head()+1 when there
// is none. It may be gone by the time it is used. Any goroutine may call it.
func (r *Ring[T]) Oldest() uint64 { return r.oldest.Load() }

// Cap returns the present number of slots. Any goroutine may call it.
func (r *Ring[T]) Cap() int { return len(*r.array.Load()) }

// Levels returns the number of levels in the entries from…to, both included, so
// that the size of a merged range is known before it is composed. The status is
// Lapped or Empty if one of the two cannot be read; an empty range (to < from) is
// 0 and OK.
func (r *Ring[T]) Levels(from, to uint64) (uint64, Status) {
	if to < from {
		return 0, OK
	}
	last, status := r.Get(to)
	if status != OK {
		return 0, status
	}
	first, status := r.Get(from)
	if status != OK {
		return 0, status
	}
	return last.total - first.total + uint64(first.levels), OK
}

// Search returns the first entry present for which reached is true, where reached
// is false up to some entry and true from there on. The status is Empty if it is
// true for none, and Lapped if the writer overtook the search so far that nothing
// can be said; searching again is then in order, but not for ever.
//
// Entries before the one returned may be gone, and reached may have been true for
// some of them: whoever resumes must check that the entry returned continues what
// it has (prev_seq). Any goroutine may call it.
func (r *Ring[T]) Search(reached func(*Entry[T]) bool) (*Entry[T], Status) {
	low, high := r.oldest.Load(), r.head.Load()+1
	var found *Entry[T] // at high, once there is one
	end := Empty        // what was learnt of the last position when nothing is found
	for low < high {
		middle := low + (high-low)/2
		e, status := r.Get(middle)
		switch {
		case status == OK && reached(e):
			found, high = e, middle
		default:
			// What was lapped lies before all that is left, as does what is false.
			end, low = status, middle+1
		}
	}
	switch {
	case found != nil:
		return found, OK
	case end == Lapped:
		return nil, Lapped
	}
	return nil, Empty
}
