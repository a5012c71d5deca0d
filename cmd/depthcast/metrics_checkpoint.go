package main

import (
	"strconv"
	"time"

	"github.com/depthcast/depthcast/ingest"
)

// checkpoints tells of the checkpoints of one partition.
func (m scrape) checkpoints(p *ingest.Partition) {
	s := p.Checkpoints()
	label := []string{"kafka_topic", p.ID().KafkaTopic, "partition", strconv.Itoa(int(p.ID().Partition))}
	count := func(name, help string, v uint64) { m.count("checkpoint_"+name, help, float64(v), label...) }
	gauge := func(name, help string, v float64) { m.gauge("checkpoint_"+name, help, v, label...) }
	count("rounds_total", "Checkpoints written.", s.Rounds.Load())
	count("bytes_total", "Bytes of checkpoints written, before compression.", s.Bytes.Load())
	count("symbols_total", "Symbols whose state was copied into checkpoints.", s.Symbols.Load())
	for reason, n := range s.Failures() {
		m.count("checkpoint_failures_total", "Checkpoints given up, by reason.", float64(n), append(label, "reason", reason)...)
	}
	for reason, n := range s.Refusals() {
		m.count("checkpoint_refusals_total", "Checkpoints that the start found and did not use, by reason.", float64(n), append(label, "reason", reason)...)
	}
	count("damaged_total", "Symbols whose state in the checkpoint could not be used.", s.Damaged.Load())
	gauge("restored_symbols", "Symbols that the start took from a checkpoint.", float64(s.Restored.Load()))
	gauge("start_seconds", "How long the start took to read the checkpoint and make the books.", time.Duration(s.Start.Load()).Seconds())
	gauge("floor", "Offset that the checkpoint, taken or written last, stands at; -1: there is none.", float64(s.Floor.Load()))
	gauge("fenced", "1 when another process has taken over writing the checkpoints.", bit(s.Fenced.Load()))
	gauge("duration_seconds", "How long the last checkpoint took.", time.Duration(s.Took.Load()).Seconds())
	count("holds_total", "How often copying for checkpoints has held records up.", s.Holds.Load())
	m.count("checkpoint_held_seconds_total", "How long copying for checkpoints has held records up, in all.", time.Duration(s.Held.Load()).Seconds(), label...)
	gauge("hold_seconds_max", "Longest time that copying for a checkpoint has held records up.", time.Duration(s.Hold.Load()).Seconds())
	age := -1.0
	if at := s.Last.Load(); at > 0 {
		age = time.Since(time.Unix(0, at)).Seconds()
	}
	gauge("age_seconds", "Time since the last checkpoint was written; -1: none by this process.", age)
}
