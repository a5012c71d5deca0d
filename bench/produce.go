package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/depthcast/depthcast/bench/feed"
)

// feed starts producing.
func (f *loadFlags) feed(ctx context.Context, burst int) (*feed.Feed, error) {
	security, err := f.security()
	if err != nil {
		return nil, err
	}
	return feed.Open(ctx, feed.Config{
		Brokers: f.Feed, Security: security, KafkaTopic: f.FeedTopic, Symbols: f.wanted(), Rate: f.FeedRate, Burst: burst, Zipf: f.Zipf,
		Levels: f.FeedLevels, Depth: f.FeedDepth, Seed: f.Seed,
	})
}

// flushWithin bounds waiting for the broker at the end of a feed.
const flushWithin = 10 * time.Second

func closeFeed(ctx context.Context, producer *feed.Feed) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWithin)
	defer cancel()
	return producer.Close(ctx)
}

// security is how the feed connects, by the flags and the environment: a password
// among the flags would stand in every report.
func (f *loadFlags) security() (s feed.Security, err error) {
	if (f.FeedSASL == "") != (f.FeedUser == "") || (f.FeedCert == "") != (f.FeedKey == "") {
		return s, errors.New("--feed-sasl and --feed-user go together, and so do --feed-cert and --feed-key")
	}
	s = feed.Security{Mechanism: f.FeedSASL, User: f.FeedUser, Password: os.Getenv("BENCH_FEED_PASSWORD")}
	if !f.FeedTLS && f.FeedCA == "" && f.FeedCert == "" {
		return s, nil
	}
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if f.FeedCA != "" {
		pem, err := os.ReadFile(f.FeedCA)
		if err != nil {
			return s, err
		}
		s.TLS.RootCAs = x509.NewCertPool()
		if !s.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return s, fmt.Errorf("--feed-ca %s holds no certificate in PEM form", f.FeedCA)
		}
	}
	if f.FeedCert != "" {
		cert, err := tls.LoadX509KeyPair(f.FeedCert, f.FeedKey)
		if err != nil {
			return s, err
		}
		s.TLS.Certificates = []tls.Certificate{cert}
	}
	return s, nil
}
