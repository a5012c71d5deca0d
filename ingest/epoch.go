package ingest

import (
	"encoding/binary"
	"hash/crc32"
	"hash/fnv"
)

// Epoch names the history that offsets of a partition belong to. It is derived,
// never drawn, so that all nodes agree: FNV-1a (64 bit) over the cluster id with
// its length before it, the Kafka topic id, the partition and rulesVersion (both
// little endian), and the instrument configuration. rulesVersion changes whenever
// the same records would make another book. An epoch is never 0.
func Epoch(clusterID string, topicID [16]byte, partition int32, rulesVersion uint32, instrumentConfig []byte) uint64 {
	h := fnv.New64a()
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(len(clusterID)))
	h.Write(n[:]) // a hash.Hash never returns an error
	h.Write([]byte(clusterID))
	h.Write(topicID[:])
	binary.LittleEndian.PutUint32(n[:4], uint32(partition))
	binary.LittleEndian.PutUint32(n[4:], rulesVersion)
	h.Write(n[:])
	h.Write(instrumentConfig)
	if e := h.Sum64(); e != 0 {
		return e
	}
	return 1
}

// Fingerprint identifies a record's content, to tell whether an offset still
// names the record it named before.
type Fingerprint struct {
	Time int64  // the record's timestamp, ns since 1970
	CRC  uint32 // CRC-32C over key and value
}

// FingerprintOf is the fingerprint of r.
func FingerprintOf(r *Record) Fingerprint {
	return Fingerprint{Time: r.Time, CRC: crc32.Update(crc32.Checksum(r.Key, castagnoli), castagnoli, r.Value)}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
