package feed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// certificate is one for 127.0.0.1, and those who trust it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(made)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, trusted
}

func TestFeedProducesOverTLSAsItsUser(t *testing.T) {
	own, trusted := certificate(t)
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, kafkaTopic), kfake.EnableSASL(),
				kfake.Superuser(mechanism, "user", "right"), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{own}}))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cluster.Close)
			c := Config{Brokers: cluster.ListenAddrs(), Symbols: []string{"A"},
				Security: Security{TLS: &tls.Config{RootCAs: trusted}, Mechanism: mechanism, User: "user", Password: "right"}}
			f := open(t, c)
			if err := f.Publish(0, 3, time.Now()); err != nil {
				t.Fatal(err)
			}
			if err := f.Finish(t.Context()); err != nil || f.Offered()[0] != 3 {
				t.Errorf("%v, offered %d", err, f.Offered())
			}
			c.KafkaTopic, c.Security.Password = kafkaTopic, "wrong"
			if mechanism != "PLAIN" {
				return
			}
			if _, err := Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), "password") || strings.Contains(err.Error(), "wrong") {
				t.Errorf("a wrong password: %v", err)
			}
		})
	}
}

func TestUnknownMechanismIsRefused(t *testing.T) {
	_, err := Open(t.Context(), Config{Brokers: []string{"127.0.0.1:1"}, Symbols: []string{"A"}, Security: Security{Mechanism: "GUESS"}})
	if !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
}
