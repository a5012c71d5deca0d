package main

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// over asks a server for its status over TLS; the answer's state tells of the handshake.
func (r *running) over(config *tls.Config) (*tls.ConnectionState, error) {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, ForceAttemptHTTP2: true}}
	answer, err := client.Get("https://" + r.doors.listen.Addr().String() + "/v1/status")
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if _, err = io.Copy(io.Discard, answer.Body); err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	return answer.TLS, err
}

// replace has file hold what another does, by renaming, as one should.
func replace(t *testing.T, file, other string) {
	t.Helper()
	text, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

func TestCertificateIsReadAnewWhenItChanges(t *testing.T) {
	cert, key, roots := selfSigned(t)
	nextCert, nextKey, nextRoots := selfSigned(t)
	r := newLab(t, 1).serve(func(_ *readFlags, f *serverFlags) { f.TLSCert, f.TLSKey = cert, key })
	if _, err := r.over(&tls.Config{RootCAs: roots}); err != nil {
		t.Fatal(err)
	}
	sessions := tls.NewLRUClientSessionCache(1)
	for range 2 {
		if _, err := r.over(&tls.Config{RootCAs: roots, ClientSessionCache: sessions}); err != nil {
			t.Fatal(err)
		}
	}
	replace(t, cert, nextCert)
	replace(t, key, nextKey)
	r.until("the new certificate", func() bool { return r.doors.certs.reloads.Load() > 0 })
	if _, err := r.over(&tls.Config{RootCAs: roots}); err == nil {
		t.Error("the old certificate is shown")
	}
	if _, err := r.over(&tls.Config{RootCAs: nextRoots}); err != nil {
		t.Error(err)
	}
	if state, err := r.over(&tls.Config{RootCAs: nextRoots, ClientSessionCache: sessions}); err != nil || state.DidResume {
		t.Errorf("a session of the old certificate is taken up: %v", err)
	}

	if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.until("the failure", func() bool { return r.doors.certs.errors.Load() == 1 })
	if _, err := r.over(&tls.Config{RootCAs: nextRoots}); err != nil {
		t.Errorf("what cannot be read leaves nothing: %v", err)
	}
}

func TestClientsNeedACertificateWhereTheFlagsSaySo(t *testing.T) {
	cert, key, roots := selfSigned(t)
	clientCert, clientKey, _ := selfSigned(t)
	otherCert, otherKey, _ := selfSigned(t)
	r := newLab(t, 1).serve(func(_ *readFlags, f *serverFlags) { f.TLSCert, f.TLSKey, f.TLSClientCA = cert, key, clientCert })
	with := func(certFile, keyFile string) *tls.Config {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			t.Fatal(err)
		}
		// Also where the server does not name its authority.
		return &tls.Config{RootCAs: roots, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }}
	}
	if _, err := r.over(with(clientCert, clientKey)); err != nil {
		t.Error(err)
	}
	for name, config := range map[string]*tls.Config{"none": {RootCAs: roots}, "another's": with(otherCert, otherKey)} {
		if _, err := r.over(config); err == nil {
			t.Errorf("with %s certificate: answered", name)
		}
	}
	sessions := tls.NewLRUClientSessionCache(1)
	before := with(clientCert, clientKey)
	before.ClientSessionCache = sessions
	if _, err := r.over(before); err != nil {
		t.Error(err)
	}
	replace(t, clientCert, otherCert)
	r.until("the new authority", func() bool { return r.doors.certs.reloads.Load() == 1 })
	if _, err := r.over(before); err == nil {
		t.Error("whose authority is none any more takes up a session")
	}
	if _, err := r.over(with(otherCert, otherKey)); err != nil {
		t.Error(err)
	}
}

func TestOldVersionsOfTLSAreRefused(t *testing.T) {
	cert, key, roots := selfSigned(t)
	r := newLab(t, 1).serve(func(_ *readFlags, f *serverFlags) { f.TLSCert, f.TLSKey = cert, key })
	for version, fine := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		_, err := r.over(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: version})
		if (err == nil) != fine {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
}

func TestFlagsOfTLSThatAreOfNoUseAreRefused(t *testing.T) {
	cert, key, _ := selfSigned(t)
	_, otherKey, _ := selfSigned(t)
	empty := t.TempDir() + "/empty"
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, f := range map[string]serverFlags{
		"go together":                {TLSCert: cert},
		"needs --tls-cert":           {TLSClientCA: cert},
		"private key does not match": {TLSCert: cert, TLSKey: otherKey},
		"no certificate in PEM":      {TLSCert: cert, TLSKey: key, TLSClientCA: empty},
	} {
		if _, err := f.openCertificates(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
