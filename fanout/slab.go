package fanout

const (
	firstSlab = 8
	maxSlab   = 256
)

// slab is where the levels or orders of entries are copied to, so that most
// entries need no allocation for them. Its memory lives as long as any of its
// entries. The zero value is ready.
type slab[T any] struct {
	room []T
	next int // size of the next room
}

// keep returns a copy of list.
func (s *slab[T]) keep(list []T) []T {
	if len(list) == 0 {
		return nil
	}
	if cap(s.room)-len(s.room) < len(list) {
		s.room = make([]T, 0, max(s.next, firstSlab, len(list)))
		s.next = min(2*max(s.next, firstSlab), maxSlab)
	}
	begin := len(s.room)
	s.room = append(s.room, list...)
	return s.room[begin:len(s.room):len(s.room)]
}
