package book

// rung is a level with its key, where it is kept with it.
type rung struct {
	key int64 // see side
	level
}

// sorted keeps the levels of a side strictly rising by key, so that the best is
// at the end, where most changes are.
type sorted struct{ rungs []rung }

// find returns where the level of key is, or where it would be inserted. It looks
// backwards from the best in growing strides, since most changes are near it, then
// halves the last stride. It branches on purpose: without, the search is faster in
// one book, but with thousands it waits for one cache miss after the other.
func (s *sorted) find(key int64) (int, bool) {
	rungs := s.rungs
	end, stride := len(rungs), nearBest
	for end > stride && rungs[end-stride].key >= key {
		end -= stride
		stride *= 2
	}
	at := max(0, end-stride)
	for at < end {
		mid := int(uint(at+end) >> 1)
		if rungs[mid].key < key {
			at = mid + 1
		} else {
			end = mid
		}
	}
	return at, at < len(rungs) && rungs[at].key == key
}

// nearBest is the first stride of find, in levels.
const nearBest = 8

func (s *sorted) get(key int64) *level {
	if i, found := s.find(key); found {
		return &s.rungs[i].level
	}
	return nil
}

// put makes the level of key, which must not be there.
func (s *sorted) put(key int64) *level {
	i, _ := s.find(key)
	s.rungs = append(s.rungs, rung{})
	copy(s.rungs[i+1:], s.rungs[i:])
	s.rungs[i] = rung{key: key}
	return &s.rungs[i].level
}

// remove takes the level of key away, which must be there.
func (s *sorted) remove(key int64) {
	i, _ := s.find(key)
	copy(s.rungs[i:], s.rungs[i+1:])
	s.rungs = s.rungs[:len(s.rungs)-1]
}

// cut takes all levels below key away.
func (s *sorted) cut(key int64) {
	i, _ := s.find(key)
	s.rungs = s.rungs[:copy(s.rungs, s.rungs[i:])]
}

// best returns the greatest key; false where there is none.
func (s *sorted) best() (int64, bool) {
	if len(s.rungs) == 0 {
		return 0, false
	}
	return s.rungs[len(s.rungs)-1].key, true
}
