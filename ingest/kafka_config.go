package ingest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	ksasl "github.com/segmentio/kafka-go/sasl"
	kplain "github.com/segmentio/kafka-go/sasl/plain"
	kscram "github.com/segmentio/kafka-go/sasl/scram"
	"github.com/twmb/franz-go/pkg/kgo"
	fsasl "github.com/twmb/franz-go/pkg/sasl"
	fplain "github.com/twmb/franz-go/pkg/sasl/plain"
	fscram "github.com/twmb/franz-go/pkg/sasl/scram"
)

// KafkaConfig says how to reach a Kafka cluster and how to read from it.
type KafkaConfig struct {
	// Brokers are host:port addresses to start from; one that answers is
	// enough, the others of the cluster are learnt from it. Required.
	Brokers []string
	// ClientID names this process in the broker's logs and quotas. Default "depthcast".
	ClientID string
	// TLS, when set, encrypts every connection. An empty ServerName is filled
	// in with the host of each broker.
	TLS *tls.Config
	// SASL authenticates every connection when its Mechanism is set.
	SASL SASL

	// DialTimeout bounds connecting to one broker, TLS and SASL included. Default 3 s.
	DialTimeout time.Duration
	// RequestTimeout bounds one question to the cluster (metadata, offsets,
	// creating Kafka topics), retries included: an unreachable cluster is an
	// error after this long. Default 5 s.
	RequestTimeout time.Duration
	// MaxWait is how long the broker holds a fetch when it has nothing new: the
	// period of its heartbeat. Default 250 ms.
	MaxWait time.Duration
	// ReadTimeout is how long a connection may stay without a byte beyond
	// MaxWait before the broker is taken for frozen. Default 2 s.
	ReadTimeout time.Duration
	// MaxBytes bounds one fetch, as the broker stores it (compressed). The broker
	// exceeds it for a single batch that is larger. Default 8 MiB.
	MaxBytes int
	// MaxBatchBytes bounds one batch as producers made it, as stored and as
	// decompressed. A larger one is skipped as corrupt. Default 64 MiB; well
	// above what the broker takes (message.max.bytes, compressed).
	MaxBatchBytes int
	// BatchRecords and BatchBytes bound what one Next hands out, so that a
	// partition's lock is not held for a whole fetch. The record that crosses
	// BatchBytes is the last. Defaults 4096 and 1 MiB.
	BatchRecords int
	BatchBytes   int
	// BackoffMin and BackoffMax bound the wait before a source tries again
	// after failing: it doubles from the one to the other, each with a random
	// half taken off. Defaults 100 ms and 2 s.
	BackoffMin time.Duration
	BackoffMax time.Duration

	// dial replaces the network in tests.
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// SASL is a user's credentials. The password shows itself in no log.
type SASL struct {
	Mechanism string // "", "PLAIN", "SCRAM-SHA-256" or "SCRAM-SHA-512"
	User      string
	Password  Secret
}

// Secret is a string that formats, logs and marshals as "***".
type Secret string

func (Secret) String() string               { return "***" }
func (Secret) GoString() string             { return `"***"` }
func (Secret) LogValue() slog.Value         { return slog.StringValue("***") }
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// validate fills in defaults and refuses what cannot work.
func (c *KafkaConfig) validate() error {
	if len(c.Brokers) == 0 {
		return errors.New("ingest: no Kafka brokers given (--brokers host:port,…)")
	}
	for _, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return fmt.Errorf("ingest: broker %q is not host:port: %w", b, err)
		}
	}
	if c.ClientID == "" {
		c.ClientID = "depthcast"
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		dflt  time.Duration
	}{
		{"DialTimeout", &c.DialTimeout, 3 * time.Second},
		{"RequestTimeout", &c.RequestTimeout, 5 * time.Second},
		{"MaxWait", &c.MaxWait, 250 * time.Millisecond},
		{"ReadTimeout", &c.ReadTimeout, 2 * time.Second},
		{"BackoffMin", &c.BackoffMin, 100 * time.Millisecond},
		{"BackoffMax", &c.BackoffMax, 2 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.dflt
		}
		if *d.value < time.Millisecond {
			return fmt.Errorf("ingest: %s %v is below 1ms", d.name, *d.value)
		}
	}
	for _, n := range []struct {
		name  string
		value *int
		dflt  int
	}{
		{"MaxBytes", &c.MaxBytes, 8 << 20},
		{"MaxBatchBytes", &c.MaxBatchBytes, 64 << 20},
		{"BatchRecords", &c.BatchRecords, 4096},
		{"BatchBytes", &c.BatchBytes, 1 << 20},
	} {
		if *n.value == 0 {
			*n.value = n.dflt
		}
		if *n.value < 1 || *n.value > 1<<30 {
			return fmt.Errorf("ingest: %s %d is not within 1 to 2^30", n.name, *n.value)
		}
	}
	if c.BackoffMax < c.BackoffMin {
		return fmt.Errorf("ingest: BackoffMax %v is below BackoffMin %v", c.BackoffMax, c.BackoffMin)
	}
	_, err := c.readerSASL()
	return err
}

// readerSASL is the mechanism in kafka-go's form, nil without one.
func (c *KafkaConfig) readerSASL() (ksasl.Mechanism, error) {
	user, password := c.SASL.User, string(c.SASL.Password)
	switch c.SASL.Mechanism {
	case "":
		return nil, nil
	case "PLAIN":
		return kplain.Mechanism{Username: user, Password: password}, nil
	case "SCRAM-SHA-256":
		return kscram.Mechanism(kscram.SHA256, user, password)
	case "SCRAM-SHA-512":
		return kscram.Mechanism(kscram.SHA512, user, password)
	}
	return nil, fmt.Errorf("ingest: SASL mechanism %q is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512", c.SASL.Mechanism)
}

// clientSASL is the mechanism in franz-go's form. validate has checked the name.
func (c *KafkaConfig) clientSASL() fsasl.Mechanism {
	user, password := c.SASL.User, string(c.SASL.Password)
	switch c.SASL.Mechanism {
	case "PLAIN":
		return fplain.Auth{User: user, Pass: password}.AsMechanism()
	case "SCRAM-SHA-256":
		return fscram.Auth{User: user, Pass: password}.AsSha256Mechanism()
	case "SCRAM-SHA-512":
		return fscram.Auth{User: user, Pass: password}.AsSha512Mechanism()
	}
	return nil
}

// clientOptions are what every franz-go client of this package shares.
func (c *KafkaConfig) clientOptions() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(c.ClientID),
		kgo.Dialer(c.dialNet),
		kgo.DisableClientMetrics(),
	}
	if m := c.clientSASL(); m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	return opts
}

// dialNet connects to one broker within DialTimeout, with TLS if configured.
func (c *KafkaConfig) dialNet(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.DialTimeout)
	defer cancel()
	dial := c.dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, network, address)
	if err != nil || c.TLS == nil {
		return conn, err
	}
	cfg := c.TLS.Clone()
	if cfg.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			conn.Close()
			return nil, err
		}
		cfg.ServerName = host
	}
	t := tls.Client(conn, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS handshake with %s: %w", address, err)
	}
	return t, nil
}

// brokers is the list as an operator would type it.
func (c *KafkaConfig) brokers() string { return strings.Join(c.Brokers, ",") }
