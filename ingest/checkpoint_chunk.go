package ingest

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"hash/fnv"
	"strconv"
	"strings"
)

// A checkpoint of one partition is states: one a symbol, and, under the name "",
// the header, which is what holds for all of them. A state is stored in chunks,
// a Kafka record each:
//
//	key    KAFKA-TOPIC/PARTITION/INDEX/SYMBOL, in text
//	value  version 1 · epoch 8 · offset 8 · index 4 · count 4 · bytes of the state · CRC-32C 4
//
// Numbers are little endian; the checksum is over key and value. All chunks of a
// state have the same epoch, offset and count; a chunk of a state that became
// smaller gets a tombstone. A transaction holds a round: states, then the header.
const (
	chunkVersion = 1
	chunkHead    = 1 + 8 + 8 + 4 + 4
	chunkOver    = chunkHead + 4
)

// maxChunks bounds the chunks of a state.
const maxChunks = 1 << 16

var (
	errChunkDamaged = errors.New("a chunk is damaged")
	errChunkMissing = errors.New("a chunk is missing")
	errChunkFormat  = errors.New("a chunk is of another version")
)

// chunk is one Kafka record of a state.
type chunk struct {
	epoch  uint64
	offset int64 // of the state
	index  uint32
	count  uint32 // chunks of the state
	data   []byte
	err    error // why data cannot be used
}

// chunkKey is the key of a chunk.
func chunkKey(id PartitionID, symbol string, index int) string {
	return chunkPrefix(id) + strconv.Itoa(index) + "/" + symbol
}

// chunkPrefix begins the keys of all chunks of a partition. A Kafka topic's name
// has no slash.
func chunkPrefix(id PartitionID) string {
	return id.KafkaTopic + "/" + strconv.Itoa(int(id.Partition)) + "/"
}

// parseChunkKey takes the rest of a key apart, without its prefix.
func parseChunkKey(rest string) (symbol string, index int, ok bool) {
	text, symbol, ok := strings.Cut(rest, "/")
	index, err := strconv.Atoi(text)
	return symbol, index, ok && err == nil && index >= 0 && index < maxChunks && strconv.Itoa(index) == text
}

// appendChunk appends the value of the record with that key.
func appendChunk(to []byte, key string, c *chunk) []byte {
	from := len(to)
	to = append(to, chunkVersion)
	to = binary.LittleEndian.AppendUint64(to, c.epoch)
	to = binary.LittleEndian.AppendUint64(to, uint64(c.offset))
	to = binary.LittleEndian.AppendUint32(to, c.index)
	to = binary.LittleEndian.AppendUint32(to, c.count)
	to = append(to, c.data...)
	return binary.LittleEndian.AppendUint32(to, chunkSum(key, to[from:]))
}

func chunkSum(key string, value []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, value)
}

// parseChunk reads a record's value, which the chunk goes on referring to. What
// is damaged has err, and in its other fields what it seems to say.
func parseChunk(key string, index int, value []byte) chunk {
	if len(value) < chunkOver {
		return chunk{index: uint32(index), offset: -1, err: errChunkDamaged}
	}
	n := len(value) - 4
	c := chunk{
		epoch:  binary.LittleEndian.Uint64(value[1:]),
		offset: int64(binary.LittleEndian.Uint64(value[9:])),
		index:  binary.LittleEndian.Uint32(value[17:]),
		count:  binary.LittleEndian.Uint32(value[21:]),
		data:   value[chunkHead:n],
	}
	switch {
	case value[0] != chunkVersion:
		c.err = errChunkFormat
	case chunkSum(key, value[:n]) != binary.LittleEndian.Uint32(value[n:]),
		int(c.index) != index, c.index >= c.count, c.count > maxChunks:
		c.err = errChunkDamaged
	}
	return c
}

// storedState is the chunks that the Kafka topic holds of one state.
type storedState struct {
	chunks []chunk // by index; one without count and err is not there
}

// put replaces a chunk and returns the bytes of the one before.
func (s *storedState) put(index int, c chunk) (was int) {
	for len(s.chunks) <= index {
		s.chunks = append(s.chunks, chunk{})
	}
	was = len(s.chunks[index].data)
	s.chunks[index] = c
	return was
}

// remove takes a chunk away, as its tombstone says.
func (s *storedState) remove(index int) (was int) {
	if index >= len(s.chunks) {
		return 0
	}
	was = len(s.chunks[index].data)
	s.chunks[index] = chunk{}
	for n := len(s.chunks); n > 0 && s.chunks[n-1].absent(); n-- {
		s.chunks = s.chunks[:n-1]
	}
	return was
}

func (c *chunk) absent() bool { return c.count == 0 && c.err == nil }

// newest is the chunk with the highest offset: what the state is of. Its epoch
// and offset are hearsay while chunks are damaged; see inventory.
func (s *storedState) newest() *chunk {
	best := &s.chunks[0]
	for i := range s.chunks {
		if c := &s.chunks[i]; !c.absent() && (best.absent() || c.offset > best.offset) {
			best = c
		}
	}
	return best
}

// assemble returns the whole state.
func (s *storedState) assemble(into []byte) ([]byte, error) {
	of := s.newest()
	into = into[:0]
	for i := range max(len(s.chunks), int(min(of.count, maxChunks))) {
		switch {
		case i >= int(of.count) && of.err == nil:
			return into, nil // what is behind belongs to an older, longer state
		case i >= len(s.chunks) || s.chunks[i].absent():
			return nil, errChunkMissing
		case s.chunks[i].err != nil:
			return nil, s.chunks[i].err
		case s.chunks[i].epoch != of.epoch || s.chunks[i].offset != of.offset || s.chunks[i].count != of.count:
			return nil, errChunkMissing
		}
		into = append(into, s.chunks[i].data...)
	}
	return into, nil
}

// inventory is a sum over the names and offsets of states, in any order, by which
// a header tells that one is missing or not the newest.
type inventory uint64

// with adds a state, or takes one away that was added.
func (v inventory) with(symbol string, offset int64) inventory {
	h := fnv.New64a()
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(offset))
	h.Write(n[:]) // a hash.Hash never returns an error
	h.Write([]byte(symbol))
	return v ^ inventory(h.Sum64())
}
