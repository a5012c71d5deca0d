package ingest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// Config says what to read and how to judge it. How to reach Kafka is KafkaConfig's.
type Config struct {
	// KafkaTopics are read whole: each partition by a goroutine of its own. Where
	// two hold records of one symbol, the symbol lives in the first. Required.
	KafkaTopics []TopicConfig
	// Start is where each partition begins: FromBeginning (the default), FromEnd
	// or FromTime. Books become live only by what is read, so FromEnd waits for
	// the next snapshots.
	Start Start
	// Instruments are the exponents of symbols whose raw venue format has none,
	// as long as no instrument event defines them. Part of the epoch: nodes that
	// share clients must share them.
	Instruments map[string]proto.Exponents
	// DeadLetters gets a copy of every refused record. nil: they are only counted
	// and logged.
	DeadLetters DeadLetterQueue
	// Checkpoints let a start go on where an earlier process was, instead of reading
	// the whole log. Default: none.
	Checkpoints CheckpointConfig
	// Log for what operators should know; refused records at a limited rate.
	// Default slog.Default().
	Log *slog.Logger

	// Delay is how late records are applied, after they came into the log, and so
	// how late the books are that they make: for those who may not have them sooner.
	// 0, the default, or at least MinDelay and at most MaxDelay. Checkpoints are kept
	// apart by it: see CheckpointConfig.KafkaTopic.
	Delay time.Duration

	// Now is the clock by which records are due and sources are silent; only tests
	// replace it. Default time.Now.
	Now func() time.Time

	// MaxLag is how many records a partition may be behind the end of its log.
	// A start is caught up only within it; later, books become stale (behind)
	// above it and current again at half of it. Default 10,000.
	MaxLag int64
	// UnreachableAfter is how long the broker may leave a partition without an
	// answer (an empty one is an answer) before its books become stale
	// (kafka_unreachable). Default 3 s; well above KafkaConfig.MaxWait.
	UnreachableAfter time.Duration
	// SilentAfter is how long a feed may bring neither records nor heartbeats
	// before its books become stale (source_silent). Default 10 s.
	SilentAfter time.Duration
	// TickEvery is how often the three above are judged, and the marks of open
	// views renewed. Default 1 s.
	TickEvery time.Duration

	// HoldRecords is how many records are applied in one hold of a partition's
	// lock. More is a little faster; fewer lets opening a view wait less.
	// Default 256, some 0.1 ms.
	HoldRecords int
	// MaxSymbols bounds the symbols of one partition that have not ended, and 16
	// times as many those that there ever were; records of further ones are refused
	// (too_many_symbols). Default 65,536.
	MaxSymbols int
	// MaxFeeds bounds the feeds of one partition; records of further ones are
	// refused (too_many_feeds). Default 1,024.
	MaxFeeds int
}

// TopicConfig is one Kafka topic to read.
type TopicConfig struct {
	Name string
	// Format of records without a content-type header: one of Formats. Default
	// DefaultFormat.
	Format string
	// Complete declares that the log tells everything from offset 0 on: a symbol
	// starts with an empty, whole book. It counts only where offset 0 is read,
	// and never for records in a raw venue format.
	Complete bool
	// Compacted declares that offsets are missing by design, so that it is no
	// reason to distrust the books.
	Compacted bool
}

// DeadLetterQueue takes copies of refused records; DeadLetters is one. Put must
// not wait, must copy what it keeps of r, and reports whether it had room.
type DeadLetterQueue interface {
	Put(from PartitionID, r Record, reason string) bool
}

// validate fills in defaults and refuses what cannot work.
func (c *Config) validate() error {
	if len(c.KafkaTopics) == 0 {
		return errors.New("ingest: no Kafka topic given (--kafka-topic)")
	}
	c.KafkaTopics = slices.Clone(c.KafkaTopics)
	for i := range c.KafkaTopics {
		if err := c.KafkaTopics[i].validate(); err != nil {
			return err
		}
		for _, earlier := range c.KafkaTopics[:i] {
			if earlier.Name == c.KafkaTopics[i].Name {
				return fmt.Errorf("ingest: Kafka topic %q is given twice", earlier.Name)
			}
		}
	}
	if c.Start.From == FromOffset {
		return errors.New("ingest: an offset is no start for several partitions: give beginning, end or a time")
	}
	for symbol, e := range c.Instruments {
		if !proto.ValidSymbol(symbol) || !validExponents(e) {
			return fmt.Errorf("ingest: instrument %q with exponents %d and %d: the symbol must be 1 to %d bytes without spaces, exponents within %d to %d",
				symbol, e.Price, e.Qty, proto.MaxSymbolBytes, proto.MinExponent, proto.MaxExponent)
		}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Delay != 0 && (c.Delay < MinDelay || c.Delay > MaxDelay || c.Delay%time.Millisecond != 0) {
		return fmt.Errorf("ingest: a delay of %v (--delay) is not within %v to %v, in whole milliseconds", c.Delay, MinDelay, MaxDelay)
	}
	if err := c.Checkpoints.validate(); err != nil {
		return err
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		dflt  time.Duration
	}{
		{"UnreachableAfter", &c.UnreachableAfter, 3 * time.Second},
		{"SilentAfter", &c.SilentAfter, 10 * time.Second},
		{"TickEvery", &c.TickEvery, time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.dflt
		}
		if *d.value < time.Millisecond {
			return fmt.Errorf("ingest: %s %v is below 1ms", d.name, *d.value)
		}
	}
	return c.validateBounds()
}

func (c *Config) validateBounds() error {
	if c.MaxLag == 0 {
		c.MaxLag = 10_000
	}
	if c.MaxLag < 1 {
		return fmt.Errorf("ingest: MaxLag %d is below 1 record", c.MaxLag)
	}
	for _, n := range []struct {
		name  string
		value *int
		dflt  int
	}{
		{"HoldRecords", &c.HoldRecords, 256},
		{"MaxSymbols", &c.MaxSymbols, 1 << 16},
		{"MaxFeeds", &c.MaxFeeds, 1 << 10},
	} {
		if *n.value == 0 {
			*n.value = n.dflt
		}
		if *n.value < 1 || *n.value > 1<<24 {
			return fmt.Errorf("ingest: %s %d is not within 1 to 2^24", n.name, *n.value)
		}
	}
	return nil
}

func (t *TopicConfig) validate() error {
	if t.Name == "" {
		return errors.New("ingest: a Kafka topic without a name")
	}
	if t.Format == "" {
		t.Format = DefaultFormat
	}
	f, ok := formats[t.Format]
	switch {
	case !ok:
		return fmt.Errorf("ingest: Kafka topic %q: no format %q: give one of %s", t.Name, t.Format, strings.Join(Formats(), ", "))
	case t.Complete && !f.complete:
		return fmt.Errorf("ingest: Kafka topic %q: records in format %q cannot be complete from offset 0: the venue's book was not empty there", t.Name, t.Format)
	case t.Complete && t.Compacted:
		return fmt.Errorf("ingest: Kafka topic %q: a Kafka topic with missing offsets cannot be complete", t.Name)
	}
	return nil
}

func validExponents(e proto.Exponents) bool {
	return min(e.Price, e.Qty) >= proto.MinExponent && max(e.Price, e.Qty) <= proto.MaxExponent
}

// instrumentConfig is what an epoch holds of the configured instruments.
func (c *Config) instrumentConfig() []byte {
	var b []byte
	for _, symbol := range slices.Sorted(maps.Keys(c.Instruments)) {
		e := c.Instruments[symbol]
		b = binary.AppendUvarint(b, uint64(len(symbol)))
		b = append(b, symbol...)
		b = append(b, byte(e.Price), byte(e.Qty))
	}
	return b
}
