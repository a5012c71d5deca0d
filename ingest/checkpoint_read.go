package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// storedStates is what the Kafka topic for checkpoints holds of one partition.
type storedStates struct {
	states map[string]*storedState // by symbol; "": the header
	bytes  int64
}

// errCheckpointLarge: CheckpointConfig.MaxBytes.
var errCheckpointLarge = errors.New("the checkpoint is larger than may be read")

var errNoProgress = errors.New("an empty answer before the end")

// A read that has made no progress for so long is given up, and so much is asked
// for at a time.
const (
	checkpointPatience   = 10 * time.Second
	checkpointFetchBytes = 8 << 20
)

// checkpointReader reads what is committed in a partition of the Kafka topic for
// checkpoints, from its start to its end.
type checkpointReader struct {
	cluster *Cluster
	cfg     *CheckpointConfig
	from    PartitionID // of the Kafka topic for checkpoints
	of      PartitionID
	log     *slog.Logger

	leader int32 // -1: to be looked up
	topic  [16]byte
	next   int64
	end    int64 // of what was committed at the last answer; -1: not known
	got    storedStates
	logged time.Time
}

// readCheckpoint reads the states of one partition. It fails when nothing was
// answered for checkpointPatience.
func (c *Cluster) readCheckpoint(ctx context.Context, cfg *CheckpointConfig, from, of PartitionID, log *slog.Logger) (*storedStates, error) {
	r := checkpointReader{cluster: c, cfg: cfg, from: from, of: of, log: log, leader: -1, end: -1,
		got: storedStates{states: map[string]*storedState{}}, logged: time.Now()}
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	for last := time.Now(); r.end < 0 || r.next < r.end; {
		was := r.next
		err := r.fetch(ctx)
		if err == nil && r.next == was && r.next < r.end {
			err = errNoProgress
		}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, errCheckpointLarge):
			return nil, err
		case err == nil:
			last = time.Now()
			continue
		case errors.Is(err, kerr.OffsetOutOfRange) && r.begin(ctx) == nil && r.next > was:
			continue // its beginning went meanwhile
		case time.Since(last) > checkpointPatience:
			return nil, fmt.Errorf("%w: %s gives nothing at offset %d of %d (last error: %w)", ErrUnreachable, from, r.next, r.end, err)
		}
		r.leader = -1
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return &r.got, nil
}

// begin moves to the start of the log, if that lies ahead.
func (r *checkpointReader) begin(ctx context.Context) error {
	ends, err := r.cluster.Offsets(ctx, r.from)
	if err == nil {
		r.next = max(r.next, ends[r.from].LogStart)
	}
	return err
}

// fetch asks the leader once and takes what it answers.
func (r *checkpointReader) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkpointPatience)
	defer cancel()
	if r.leader < 0 {
		if err := r.find(ctx); err != nil {
			return err
		}
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = 100, 1, checkpointFetchBytes, 1
	req.SessionEpoch = -1 // no fetch session
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = r.from.KafkaTopic, r.topic
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = r.from.Partition, r.next, checkpointFetchBytes
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	answer, err := r.cluster.client.Broker(int(r.leader)).Request(ctx, req)
	if err != nil {
		return err
	}
	resp := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return errors.New("the broker answered for other partitions than asked")
	}
	return r.take(&resp.Topics[0].Partitions[0])
}

// take keeps the records of an answer.
func (r *checkpointReader) take(p *kmsg.FetchResponseTopicPartition) error {
	part, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: r.next, IsolationLevel: kgo.ReadCommitted(), Topic: r.from.KafkaTopic, Partition: r.from.Partition,
	}, p, kgo.DefaultDecompressor(), nil)
	if part.Err != nil {
		return part.Err
	}
	r.end = max(r.end, part.LastStableOffset) // a part of what was written meanwhile would be no checkpoint
	prefix := chunkPrefix(r.of)
	for _, rec := range part.Records {
		if rest, ours := strings.CutPrefix(string(rec.Key), prefix); ours {
			r.got.take(string(rec.Key), rest, rec.Value)
		}
	}
	r.next = next
	if now := time.Now(); now.Sub(r.logged) > 5*time.Second {
		r.logged = now
		r.log.Info("reading the checkpoint", "offset", r.next, "end", r.end, "bytes", r.got.bytes)
	}
	if r.got.bytes > r.cfg.MaxBytes {
		return fmt.Errorf("%w: more than %d bytes", errCheckpointLarge, r.cfg.MaxBytes)
	}
	return nil
}

// take keeps one record, whose key is ours but for its beginning.
func (s *storedStates) take(key, rest string, value []byte) {
	symbol, index, ok := parseChunkKey(rest)
	if !ok {
		return
	}
	state := s.states[symbol]
	if value == nil {
		if state == nil {
			return
		}
		s.bytes -= int64(state.remove(index))
		if len(state.chunks) == 0 {
			delete(s.states, symbol)
		}
		return
	}
	if state == nil {
		state = &storedState{}
		s.states[symbol] = state
	}
	// A clone, so that a small state does not keep the whole batch it came in.
	c := parseChunk(key, index, bytes.Clone(value))
	s.bytes += int64(len(c.data) - state.put(index, c))
}

// find looks the partition's leader up.
func (r *checkpointReader) find(ctx context.Context) error {
	m, err := r.cluster.metadata(ctx, []string{r.from.KafkaTopic})
	if err != nil {
		return err
	}
	t, err := r.cluster.topicOf(m, r.from.KafkaTopic)
	if err != nil {
		return err
	}
	for _, p := range t.Partitions {
		if p.Partition == r.from.Partition && p.Leader >= 0 {
			r.leader, r.topic = p.Leader, t.TopicID
			return nil
		}
	}
	return fmt.Errorf("%s has no leader", r.from)
}
