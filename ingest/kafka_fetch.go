package ingest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leaderConn is a connection to the leader of one partition. kafka-go connects,
// authenticates and asks; its Conn.ReadBatch is not used, since it checks no CRC,
// hands out transaction markers and what was aborted, says nothing of the log's
// start, and loses the connection when a record arrives while the broker answers
// that there is none (BenchmarkKafkaSource compares the cost).
type leaderConn struct {
	cfg         *KafkaConfig
	id          PartitionID
	net         *patientConn
	version     int16 // of the fetch request that the broker takes
	correlation int32 // of the last request
}

// patientConn gives every read a deadline of its own, so that a large response
// may take its time and a frozen broker is noticed all the same.
type patientConn struct {
	net.Conn
	patience time.Duration
}

func (c *patientConn) Read(p []byte) (int, error) {
	if err := c.Conn.SetReadDeadline(time.Now().Add(c.patience)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *patientConn) Write(p []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// SetReadDeadline does nothing: kafka-go would take the deadline off again.
func (c *patientConn) SetReadDeadline(time.Time) error { return nil }

// dialLeader connects to the leader at address, authenticated, within DialTimeout.
func dialLeader(ctx context.Context, cfg *KafkaConfig, id PartitionID, address string) (*leaderConn, error) {
	mechanism, err := cfg.readerSASL()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.DialTimeout)
	defer cancel()
	var raw *patientConn
	d := kafka.Dialer{
		ClientID:      cfg.ClientID,
		SASLMechanism: mechanism,
		DialFunc: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := cfg.dialNet(ctx, network, address)
			if err != nil {
				return nil, err
			}
			raw = &patientConn{Conn: c, patience: min(cfg.DialTimeout, cfg.MaxWait+cfg.ReadTimeout)}
			return raw, nil
		},
	}
	k, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, dialError(address, err)
	}
	offered, err := k.ApiVersions()
	if err != nil {
		k.Close()
		return nil, dialError(address, err)
	}
	raw.patience = cfg.MaxWait + cfg.ReadTimeout
	c := &leaderConn{cfg: cfg, id: id, net: raw}
	for _, v := range offered {
		if key := protocol.ApiKey(v.ApiKey); key == protocol.Fetch {
			c.version = key.SelectVersion(int16(v.MinVersion), int16(v.MaxVersion))
		}
	}
	if c.version < minFetchVersion {
		raw.Close()
		return nil, fmt.Errorf("%w: leader at %s is older than Kafka 0.11", ErrUnreachable, address)
	}
	return c, nil
}

func dialError(address string, err error) error {
	if errors.Is(err, kafka.SASLAuthenticationFailed) || errors.Is(err, kafka.UnsupportedSASLMechanism) {
		return fmt.Errorf("%w: %s: check the SASL mechanism, user and password: %w", ErrDenied, address, err)
	}
	return fmt.Errorf("%w: leader at %s: %w", ErrUnreachable, address, err)
}

func (c *leaderConn) close() { c.net.Close() }

// errUndecodable marks a response that arrived and makes no sense.
var errUndecodable = errors.New("undecodable")

// minFetchVersion is the first that knows committed records from others.
const minFetchVersion = 4

// readCommitted asks for nothing beyond the last stable offset, and for a list of
// the aborted transactions.
const readCommitted = 1

// fetch asks for records from offset on. The answer is to be given back by
// its done. A kafka.Error is the broker's refusal; errUndecodable wraps what
// arrived damaged. After any other error, and after a damaged response, the
// connection must be closed.
func (c *leaderConn) fetch(ctx context.Context, offset int64, maxBytes int) (fetchAnswer, Offsets, error) {
	stop := context.AfterFunc(ctx, func() { c.net.Close() })
	defer stop()
	c.correlation++
	err := protocol.WriteRequest(c.net, c.version, c.correlation, c.cfg.ClientID, &fetch.Request{
		ReplicaID:      -1,
		MaxWaitTime:    int32(c.cfg.MaxWait.Milliseconds()),
		MinBytes:       1,
		MaxBytes:       math.MaxInt32, // the partition's bound counts (where this one cuts, kfake forgets the aborted)
		IsolationLevel: readCommitted,
		SessionEpoch:   -1, // no fetch session
		Topics: []fetch.RequestTopic{{
			Topic: c.id.KafkaTopic,
			Partitions: []fetch.RequestPartition{{
				Partition:          c.id.Partition,
				CurrentLeaderEpoch: -1,
				FetchOffset:        offset,
				LogStartOffset:     -1,
				PartitionMaxBytes:  int32(maxBytes),
			}},
		}},
	})
	var a fetchAnswer
	var ends Offsets
	if err == nil {
		a, ends, err = c.receive()
	}
	if err != nil {
		a.done()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
	}
	return a, ends, err
}

// receive reads the response to a fetch.
func (c *leaderConn) receive() (fetchAnswer, Offsets, error) {
	a := fetchAnswer{cfg: c.cfg}
	var head [8]byte // size and correlation id
	if _, err := io.ReadFull(c.net, head[:]); err != nil {
		return a, Offsets{}, err
	}
	size := int64(int32(binary.BigEndian.Uint32(head[:]))) - 4
	if most := int64(c.cfg.MaxBytes) + int64(c.cfg.MaxBatchBytes); size < 0 || size > most {
		return a, Offsets{}, fmt.Errorf("%w: a response of %d bytes: %w (%d)", errUndecodable, size, errTooLarge, c.cfg.MaxBatchBytes)
	}
	a.response = lend(int(size))
	if _, err := io.ReadFull(c.net, *a.response); err != nil {
		return a, Offsets{}, err
	}
	if is := int32(binary.BigEndian.Uint32(head[4:])); is != c.correlation {
		return a, Offsets{}, fmt.Errorf("%w: an answer to request %d, not %d", errUndecodable, is, c.correlation)
	}
	res := kmsg.FetchResponse{Version: c.version}
	if err := res.ReadFrom(*a.response); err != nil {
		return a, Offsets{}, fmt.Errorf("%w: %w", errUndecodable, err)
	}
	if res.ErrorCode != 0 {
		return a, Offsets{}, kafka.Error(res.ErrorCode)
	}
	if len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return a, Offsets{}, fmt.Errorf("%w: the broker answered for other partitions than asked", errUndecodable)
	}
	p := &res.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return a, Offsets{}, kafka.Error(p.ErrorCode)
	}
	if p.LastStableOffset < 0 { // unknown: nothing may be taken for committed
		return a, Offsets{}, kafka.OffsetNotAvailable
	}
	a.rest, a.aborted = p.RecordBatches, newAborted(p.AbortedTransactions)
	a.undecided = p.HighWatermark - p.LastStableOffset
	return a, Offsets{LogStart: p.LogStartOffset, HighWatermark: p.LastStableOffset}, nil
}

// brokenTransport reports whether err is about the connection rather than about
// the bytes that it carried. A response cut short is taken for the former.
func brokenTransport(err error) bool {
	var k kafka.Error // which is a net.Error too
	if errors.As(err, &k) {
		return false
	}
	var n net.Error
	return errors.As(err, &n) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}
