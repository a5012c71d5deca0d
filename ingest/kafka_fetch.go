package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

// leaderConn is a connection to the leader of one partition. It speaks
// kafka-go's protocol package rather than its Conn: Conn.ReadBatch checks no
// CRC, hands out transaction markers as records, says nothing of the log's
// start, and loses the connection when a record arrives while the broker
// answers that there is none (BenchmarkKafkaSource compares the cost).
type leaderConn struct {
	cfg  *KafkaConfig
	id   PartitionID
	net  *patientConn
	conn *protocol.Conn
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
	versions := make(map[protocol.ApiKey]int16, 1)
	for _, v := range offered {
		if key := protocol.ApiKey(v.ApiKey); key == protocol.Fetch {
			versions[key] = key.SelectVersion(int16(v.MinVersion), int16(v.MaxVersion))
		}
	}
	raw.patience = cfg.MaxWait + cfg.ReadTimeout
	c := &leaderConn{cfg: cfg, id: id, net: raw, conn: protocol.NewConn(raw, cfg.ClientID)}
	c.conn.SetVersions(versions)
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

// fetch asks for records from offset on. A kafka.Error is the broker's refusal;
// errUndecodable wraps what arrived damaged. After any other error, and after a
// damaged response, the connection must be closed.
func (c *leaderConn) fetch(ctx context.Context, offset int64, maxWait time.Duration, maxBytes int) (*fetch.ResponsePartition, error) {
	stop := context.AfterFunc(ctx, func() { c.net.Close() })
	defer stop()
	msg, err := c.conn.RoundTrip(&fetch.Request{
		ReplicaID:    -1,
		MaxWaitTime:  int32(maxWait.Milliseconds()),
		MinBytes:     1,
		MaxBytes:     int32(maxBytes),
		SessionEpoch: -1, // no fetch session
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
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case brokenTransport(err):
		return nil, err
	default:
		return nil, fmt.Errorf("%w: %w", errUndecodable, err)
	}
	res := msg.(*fetch.Response)
	if res.ErrorCode != 0 {
		return nil, kafka.Error(res.ErrorCode)
	}
	if len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("%w: the broker answered for other partitions than asked", errUndecodable)
	}
	p := &res.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return p, kafka.Error(p.ErrorCode)
	}
	return p, nil
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

// batchesOf lists the batches of a response in order.
func batchesOf(p *fetch.ResponsePartition) []protocol.RecordReader {
	switch r := p.RecordSet.Records.(type) {
	case nil:
		return nil
	case *protocol.RecordStream:
		return r.Records
	default:
		return []protocol.RecordReader{r}
	}
}
