package ingest

import (
	"github.com/depthcast/depthcast/proto"
)

// marks are what a partition notes of symbols for the sake of checkpoints: which
// have changed since they were last copied, and which records are already in the
// states that the partition began with. Guarded by the partition's lock.
type marks struct {
	writing bool // checkpoints are written: changes are noted
	of      map[string]*mark
	dirty   []*mark
	loose   int   // symbols in of that the partition has not claimed
	most    int   // of those; what has no room is not kept
	voided  int   // how often offsets came to mean other records, or the log another
	since   int64 // records read since a checkpoint was due
	// Records of symbols that live elsewhere come here, where Kafka's partitioner
	// puts them by now: they decide where those symbols live after the next start,
	// which therefore has to read them.
	moved bool
	// The log lost its end, or a record is another one: books are recovering for it,
	// while a start that reads what is there now knows nothing of that.
	cut  bool
	due  int64 // records after which wake is told; 0: never
	wake chan<- struct{}

	// Of the checkpoint that the partition began with.
	floor int64 // records up to here are in it, but for those of symbols that are rebuilt; -1: none
	until int64 // records after this are in no state that was restored; -1: there are none
}

// mark is what is noted of one symbol.
type mark struct {
	name    string
	dirty   bool  // it is in marks.dirty, or still to be copied by a round
	claimed bool  // it does not count as loose
	through int64 // its records up to this offset are in the state that it was restored with
}

func newMarks(most int) marks {
	return marks{of: map[string]*mark{}, most: most, floor: -1, until: -1}
}

// forget drops what belongs to an earlier log.
func (m *marks) forget() {
	clear(m.of)
	m.dirty, m.loose, m.floor, m.until, m.moved, m.cut = nil, 0, -1, -1, false, false
	m.voided++
}

// void says that offsets will come a second time, for other records: everything
// must be copied anew, and nothing may be skipped.
func (m *marks) void() {
	m.voided++
	m.cut = true
	m.floor, m.until = -1, -1
	m.dirty = m.dirty[:0]
	for _, k := range m.of {
		k.through, k.dirty = -1, true
		m.dirty = append(m.dirty, k)
	}
}

// touch notes that something about a symbol changes. s is nil where the partition
// has not claimed it.
func (m *marks) touch(s *symbol, name []byte) {
	if !m.writing {
		return
	}
	if s != nil {
		if !s.mark.dirty {
			m.add(s.mark)
		}
		return
	}
	if k := m.find(name); k != nil && !k.dirty {
		m.add(k)
	}
}

func (m *marks) add(k *mark) {
	k.dirty = true
	m.dirty = append(m.dirty, k)
}

// touchAll notes that every symbol changes.
func (m *marks) touchAll() {
	if !m.writing {
		return
	}
	for _, k := range m.of {
		if !k.dirty {
			m.add(k)
		}
	}
}

// find returns the mark of a symbol that is not claimed; nil if it is none, or
// one too many.
func (m *marks) find(name []byte) *mark {
	k := m.of[string(name)]
	if k != nil || m.loose >= m.most || !proto.ValidSymbol(string(name)) {
		return k
	}
	k = &mark{name: string(name), through: m.floor}
	m.of[k.name] = k
	m.loose++
	return k
}

// claim returns the mark of a symbol that the partition claims.
func (m *marks) claim(name string) *mark {
	if !m.writing {
		return nil
	}
	k := m.of[name]
	if k == nil {
		k = &mark{name: name, through: m.floor}
		m.of[name] = k
	} else if !k.claimed {
		m.loose--
	}
	k.claimed = true
	return k
}

// drop forgets a symbol of which nothing is known any more.
func (m *marks) drop(k *mark) {
	if m.of[k.name] == k && !k.claimed && k.through < 0 {
		delete(m.of, k.name)
		m.loose--
	}
}

// has reports whether the record at offset is in the state that the symbol was
// restored with.
func (m *marks) has(name []byte, offset int64) bool {
	if offset > m.until {
		return false
	}
	if k := m.of[string(name)]; k != nil {
		return offset <= k.through
	}
	return offset <= m.floor && proto.ValidSymbol(string(name))
}

// noteRead notes records that were read, and tells when a checkpoint is due.
// Called under the lock.
func (p *Partition) noteRead(records []Record) {
	m := &p.marks
	if !m.writing || len(records) == 0 {
		return
	}
	r := &records[len(records)-1]
	f := FingerprintOf(r)
	p.last = proto.Fingerprint{Offset: r.Offset, Time: f.Time, CRC: f.CRC}
	if m.since += int64(len(records)); m.due > 0 && m.since >= m.due {
		select {
		case m.wake <- struct{}{}:
		default: // it knows
		}
	}
}

// skip reports whether rec is in the state that its symbol was restored with. It
// may still be told of another symbol, as a record whose key and payload differ.
// Called under the lock.
func (p *Partition) skip(rec *Record) bool {
	if !p.marks.has(rec.Key, rec.Offset) {
		return false
	}
	p.tally.skipped++
	format, ok := p.formatOf(rec)
	if !ok {
		return true
	}
	c := p.codec(format)
	if _, keeps := c.(keeper); keeps {
		return true // such a codec speaks of its key's symbol only
	}
	b, err := c.Decode(rec)
	if err == nil && b != nil && b.Symbol != string(rec.Key) && proto.ValidSymbol(b.Symbol) {
		p.refuseBook(b.Symbol, rec.Offset, proto.ReasonBadRecord)
	}
	return true
}

// refuseBook makes a symbol's book recovering because of the record at seq, unless
// it was restored in a state that has this record behind it.
func (p *Partition) refuseBook(name string, seq int64, reason proto.Reason) {
	if p.marks.has([]byte(name), seq) {
		return
	}
	p.marks.touch(p.symbols[name], []byte(name))
	p.books.Refuse(name, seq, reason)
}
