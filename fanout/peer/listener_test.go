package peer

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// acceptOne has a connection to a listener that trusts trusted, on which say is said.
func acceptOne(t *testing.T, trusted string, within time.Duration, say []byte) (net.Conn, *Listener) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Listener{Listener: inner, Proxies: Proxies{Trusted: nets(t, trusted)}, Header: true, Within: within, Counts: NewCounts(1, nil)}
	t.Cleanup(func() { _ = l.Close() })
	client, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	c, err := l.Accept() // has nothing to wait for
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := client.Write(say); err != nil {
		t.Fatal(err)
	}
	return c, l
}

func TestTrustedProxySaysWhoIsThere(t *testing.T) {
	c, l := acceptOne(t, "127.0.0.0/8", 10*time.Second, append(tcp4("198.51.100.1:4711"), "hello"...))
	if from := c.RemoteAddr().String(); from != "198.51.100.1:4711" {
		t.Errorf("from %s", from)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" || l.Refused() != 0 {
		t.Errorf("%q, %v; %d refused", b, err, l.Refused())
	}
}

func TestStrangersWordOfTheProxyProtocolIsWhatItSays(t *testing.T) {
	say := tcp4("198.51.100.1:4711")
	c, _ := acceptOne(t, "10.0.0.0/8", 10*time.Second, say)
	if from := AddrOf(c.RemoteAddr().String()); from != addr("127.0.0.1") {
		t.Errorf("from %s", from)
	}
	b := make([]byte, len(say))
	if _, err := io.ReadFull(c, b); err != nil || !bytes.Equal(b, say) {
		t.Errorf("%q, %v", b, err)
	}
}

func TestTrustedPeerWithoutAHeaderIsNotHeard(t *testing.T) {
	c, l := acceptOne(t, "127.0.0.0/8", 10*time.Second, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	if n, err := c.Read(make([]byte, 100)); !errors.Is(err, ErrHeader) || n != 0 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if from := AddrOf(c.RemoteAddr().String()); from != addr("127.0.0.1") || l.Refused() != 1 {
		t.Errorf("from %s, %d refused", from, l.Refused())
	}
}

func TestHeaderHasToComeInTime(t *testing.T) {
	c, l := acceptOne(t, "127.0.0.0/8", time.Millisecond, tcp4("198.51.100.1:4711")[:20])
	if _, err := c.Read(make([]byte, 100)); err == nil || l.Refused() != 1 {
		t.Errorf("%v, %d refused", err, l.Refused())
	}
}

func TestAddressIsInHandshakesNoMoreOftenThanItMay(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Listener{Listener: inner, Counts: NewCounts(2, nil)}
	defer l.Close()
	dial := func(from string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		return c
	}
	accept := func() net.Conn {
		t.Helper()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	dial("127.0.0.2")
	first := accept()
	dial("127.0.0.2")
	accept()
	third := dial("127.0.0.2")
	dial("127.0.0.3")
	if c := accept(); AddrOf(c.RemoteAddr().String()) != addr("127.0.0.3") {
		t.Errorf("%v comes in", c.RemoteAddr())
	}
	if n, err := third.Read(make([]byte, 1)); err == nil || n > 0 {
		t.Error("a third is told something")
	}
	_ = first.Close()
	_ = first.Close() // counts once
	dial("127.0.0.2")
	accept()
	fourth := dial("127.0.0.2")
	dial("127.0.0.4")
	if c := accept(); AddrOf(c.RemoteAddr().String()) != addr("127.0.0.4") || l.Counts.Refused() != 2 {
		t.Errorf("%v comes in, %d refused", c.RemoteAddr(), l.Counts.Refused())
	}
	_ = fourth
}

func TestClientsOfAProxyAreBoundedEachByItsOwnAddress(t *testing.T) {
	c, l := acceptOne(t, "127.0.0.0/8", 10*time.Second, append(tcp4("198.51.100.1:1"), "x"...))
	if _, err := l.Counts.Enter(addr("198.51.100.1")); !err {
		t.Fatal("counted before its header was read")
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, errCrowded) {
		t.Errorf("a second: %v", err)
	}
}
