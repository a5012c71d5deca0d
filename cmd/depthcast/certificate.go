package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/depthcast/depthcast/fanout/door"
)

// certificates are what clients are served with over TLS, and whose certificates they
// must have. They are read anew when one of their files changes, all or none; those
// who are connected stay so.
type certificates struct {
	// Static.
	cert, key, clientCA string // clientCA: empty: clients need none
	watched             *door.Watched

	current atomic.Pointer[tls.Config]
	reloads atomic.Uint64
	errors  atomic.Uint64
}

// watchEvery is how often the files are looked at.
const watchEvery = time.Second

// errClientCA refuses a file without certificates.
var errClientCA = errors.New("no certificate in PEM")

// openCertificates reads the files of the flags; nil: clients are served in the clear.
func (f *serverFlags) openCertificates() (*certificates, error) {
	switch {
	case (f.TLSCert == "") != (f.TLSKey == ""):
		return nil, errors.New("--tls-cert and --tls-key go together")
	case f.TLSCert == "" && f.TLSClientCA != "":
		return nil, errors.New("--tls-client-ca needs --tls-cert and --tls-key")
	case f.TLSCert == "":
		return nil, nil
	}
	c := &certificates{cert: f.TLSCert, key: f.TLSKey, clientCA: f.TLSClientCA}
	files := []string{c.cert, c.key}
	if c.clientCA != "" {
		files = append(files, c.clientCA)
	}
	c.watched = door.Watch(files...)
	config, err := c.read()
	c.current.Store(config)
	return c, err
}

// read makes a configuration of the files as they are now.
func (c *certificates) read() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert %s, --tls-key %s: %w", c.cert, c.key, err)
	}
	config := &tls.Config{
		MinVersion:                  tls.VersionTLS12,
		Certificates:                []tls.Certificate{cert},
		NextProtos:                  []string{"h2", "http/1.1"}, // browsers upgrade on a connection of HTTP/1.1
		DynamicRecordSizingDisabled: true,                       // runs of frames are large
	}
	// Its own, so that no session that was begun under another configuration, which may
	// have trusted other clients, is taken up again.
	var ticketKey [32]byte
	_, _ = rand.Read(ticketKey[:]) // never fails, by its contract
	config.SetSessionTicketKeys([][32]byte{ticketKey})
	if c.clientCA == "" {
		return config, nil
	}
	text, err := os.ReadFile(c.clientCA)
	if err != nil {
		return nil, fmt.Errorf("--tls-client-ca: %w", err)
	}
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--tls-client-ca %s: %w", c.clientCA, errClientCA)
	}
	return config, nil
}

// config is for a listener: each handshake is by what holds then.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load(), nil },
	}
}

// run reads the files anew when they change, until ctx ends. c may be nil.
func (c *certificates) run(ctx context.Context) {
	if c != nil {
		c.watched.Run(ctx, watchEvery, c.retake)
	}
}

func (c *certificates) retake() {
	config, err := c.read()
	if err != nil {
		c.errors.Add(1)
		slog.Error("the files of TLS cannot be read: what they held before goes on to hold", "err", err)
		return
	}
	c.current.Store(config)
	c.reloads.Add(1)
	slog.Info("the files of TLS were read anew", "until", c.until())
}

// until is when the certificate ends.
func (c *certificates) until() time.Time { return c.current.Load().Certificates[0].Leaf.NotAfter }
