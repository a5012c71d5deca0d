package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"time"

	"github.com/depthcast/depthcast/fanout"
)

// conformanceEchoCmd is `depthcast conformance-echo`: a WebSocket server that answers
// every message with itself, over the connections, handshake and TLS that serve has.
// It prints "listening URL".
type conformanceEchoCmd struct {
	Listen     string `help:"Address for clients." default:"127.0.0.1:9001" placeholder:"HOST:PORT"`
	TLS        bool   `name:"tls" help:"Serve with TLS, by a certificate made at the start."`
	Deflate    string `help:"Which clients may agree on compressed messages: json, all or off." enum:"json,all,off" default:"off"`
	MaxMessage int    `help:"Most bytes of one message." default:"16777216"`
	Shards     int    `help:"Event loops. 0: one a processor." default:"0"`
}

func (c *conformanceEchoCmd) Run(ctx context.Context, stdout io.Writer) error {
	hub, err := fanout.New(fanout.Config{
		Echo: true, Shards: c.Shards, Deflate: deflates[c.Deflate], DeflateMin: 1,
		MaxMessageBytes: c.MaxMessage, ControlBytes: 4 * c.MaxMessage, MaxConns: spareDescriptors(httpPlaces, 0),
	})
	if err != nil {
		return err
	}
	l, err := listen(c.Listen, "--listen", false)
	if err != nil {
		return err
	}
	scheme := "ws"
	if c.TLS {
		cert, err := ownCertificate()
		if err != nil {
			return err
		}
		scheme = "wss"
		l = fanout.TLSListener(l, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}})
	}
	server := httpServer(&fanout.StreamHandler{Hub: hub, Log: slog.Default()})
	fmt.Fprintf(stdout, "listening %s://%s\n", scheme, l.Addr())
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	ending, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	if err := hub.Shutdown(ending); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// ownCertificate makes a certificate for this machine that nobody has reason to trust.
func ownCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		DNSNames:     []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
