package peer

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"
)

// acceptOne has a connection to a listener that trusts trusted, on which say is said.
func acceptOne(t *testing.T, trusted string, within time.Duration, say []byte) (net.Conn, *Listener) {
	t.Helper()
	return acceptLogged(t, io.Discard, trusted, within, say)
}

// acceptLogged is acceptOne with a log.
func acceptLogged(t *testing.T, logged io.Writer, trusted string, within time.Duration, say []byte) (net.Conn, *Listener) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Listener{
		Listener: inner, Proxies: Proxies{Trusted: nets(t, trusted)}, Header: true, Within: within, Counts: NewCounts(1, nil),
		Log: slog.New(slog.NewTextHandler(logged, nil)),
	}
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

func TestProxyThatSpeaksVersionOneIsNotHeardAndTheLogSaysWhy(t *testing.T) {
	for _, say := range []string{"PROXY UNKNOWN\r\n", "PROXY TCP4 198.51.100.1 127.0.0.1 4711 80\r\nGET / HTTP/1.1\r\n"} {
		var logged bytes.Buffer
		c, l := acceptLogged(t, &logged, "127.0.0.0/8", 10*time.Second, []byte(say))
		if n, err := c.Read(make([]byte, 100)); !errors.Is(err, ErrHeader) || n != 0 || l.Refused() != 1 {
			t.Errorf("%d bytes, %v; %d refused", n, err, l.Refused())
		}
		if text := logged.String(); !strings.Contains(text, "WARN") || !strings.Contains(text, "version 1: have the proxy send version 2") || strings.Contains(text, "198.51") {
			t.Errorf("logged %s", text)
		}
	}
}

func TestConnectionThatFloodsIsEndedWhereverItIs(t *testing.T) {
	const perSecond = 1000
	for name, c := range map[string]struct {
		trusted string
		header  bool
		ends    bool
	}{
		"a stranger":                   {"10.0.0.0/8", false, true},
		"a proxy's that many share":    {"127.0.0.0/8", false, false},
		"a proxy's that is its client": {"127.0.0.0/8", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			say := make([]byte, 100*FloodSeconds*perSecond)
			if c.header {
				say = append(tcp4("198.51.100.1:4711"), say...)
			}
			near, l := acceptOne(t, c.trusted, 10*time.Second, nil)
			l.Header = c.header
			_ = near.Close()
			l.BytesPerSecond = perSecond
			client, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			near, err = l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer near.Close()
			sent := make(chan error, 1)
			go func() {
				_, err := client.Write(say)
				sent <- errors.Join(err, client.(*net.TCPConn).CloseWrite())
			}()
			n, err := io.Copy(io.Discard, near)
			_ = client.Close()
			<-sent
			if ended := errors.Is(err, errFlooding); ended != c.ends || (l.Flooding() == 1) != c.ends || ended && n > 2*FloodSeconds*perSecond {
				t.Errorf("%d bytes, %v; %d counted", n, err, l.Flooding())
			}
		})
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
