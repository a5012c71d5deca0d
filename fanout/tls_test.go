package fanout

import (
	"crypto/tls"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/depthcast/depthcast/fanout/poll"
	"github.com/depthcast/depthcast/fanout/poll/polltest"
	"github.com/depthcast/depthcast/proto"
)

func TestFrozenTLSReaderCatchesUpWithARightBook(t *testing.T) {
	r := newRig(t, small, btc)
	random := seeded(8)
	c := r.open(true).dial(proto.CodecProto)
	m := newModel(t, c.subscribe(book))
	r.freeze(r.book(btc), random)
	for range 300 {
		r.book(btc).publish(random, 20)
	}
	seq, hash := r.book(btc).where()
	m.follow(c, seq)
	if m.hash() != hash {
		t.Error("another book")
	}
	r.until("nothing is pinned", func() bool { return r.hub.Stats().PinnedBytes == 0 })
}

func TestFrozenTLSReaderIsDroppedAndLeavesNothingBehind(t *testing.T) {
	r := newRig(t, small, btc)
	c := r.open(true).dial(proto.CodecProto)
	c.subscribe(book)
	random := seeded(9)
	r.freeze(r.book(btc), random)
	r.stallOut(r.book(btc), random)
	r.until("its end", func() bool { return r.hub.Stats().Conns == 0 })
	if s := r.hub.Stats(); s.Drops[DropStalled] != 1 || s.PinnedBytes != 0 || s.Subscriptions != 0 {
		t.Errorf("%d drops, %d bytes pinned, %d subscriptions", s.Drops[DropStalled], s.PinnedBytes, s.Subscriptions)
	}
}

// securePair is a secure transport over scripted sockets, and the client's end.
func securePair(t *testing.T) (*secure, *polltest.Sockets, *tls.Conn) {
	t.Helper()
	near, far := tcpPair(t)
	server := tls.Server(&wire{Conn: far, fd: -1}, &tls.Config{
		Certificates: []tls.Certificate{selfSigned(t)}, DynamicRecordSizingDisabled: true})
	client := tls.Client(near, &tls.Config{InsecureSkipVerify: true})
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	sockets := &polltest.Sockets{}
	s, err := newSecure(server, sockets)
	if err != nil {
		t.Fatal(err)
	}
	_ = client.SetDeadline(time.Now().Add(patience))
	return s, sockets, client
}

func TestCiphertextThatTheSocketDoesNotTakeIsKeptInOrder(t *testing.T) {
	s, sockets, client := securePair(t)
	sockets.OnSend(s.wire.fd, polltest.Take(7), polltest.Again(2), polltest.Take(100))
	first, second := strings.Repeat("a", 40_000), strings.Repeat("b", 10)
	n, class := s.Send([]byte(first))
	if n != len(first) || class != poll.Partial || s.Pending() == 0 {
		t.Fatalf("sent %d, %v, %d pending", n, class, s.Pending())
	}
	if n, class := s.Send([]byte(second)); n != 0 || class == poll.OK {
		t.Fatalf("new plaintext went in before the old ciphertext was gone: %d, %v", n, class)
	}
	for s.Flush() != poll.OK {
	}
	if n, class := s.Send([]byte(second)); n != len(second) || class != poll.OK {
		t.Fatalf("sent %d, %v", n, class)
	}
	got := make([]byte, len(first)+len(second))
	if _, err := io.ReadFull(client, got); err != nil {
		t.Fatal(err)
	}
	if string(got) != first+second {
		t.Error("other bytes arrived")
	}
}

func TestRecordThatArrivesInPiecesIsReadWhole(t *testing.T) {
	s, sockets, client := securePair(t)
	// The record's own bytes, read past the transport, are handed to it piecemeal.
	text := strings.Repeat("x", 3000)
	if _, err := client.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	record := make([]byte, 0, 8192)
	for len(record) < len(text) {
		buf := make([]byte, 8192)
		n, class, errno := poll.Recv(s.wire.fd, buf)
		if class != poll.OK && class != poll.Again {
			t.Fatal(errno)
		}
		record = append(record, buf[:n]...)
	}
	var got []byte
	buf := make([]byte, 8192)
	for len(record) > 0 {
		piece := record[:min(len(record), 700)]
		record = record[len(piece):]
		sockets.OnRecv(s.wire.fd, polltest.Data(piece), polltest.Again(1))
		n, class := s.Recv(buf)
		if class != poll.Again && class != poll.Partial {
			t.Fatalf("%v in the middle of a record", class)
		}
		got = append(got, buf[:n]...)
	}
	if string(got) != text {
		t.Errorf("%d bytes read, want %d", len(got), len(text))
	}
}

func TestGoodbyeOfThePeerIsTheEnd(t *testing.T) {
	s, _, client := securePair(t)
	_ = client.Close()
	buf := make([]byte, 100)
	class := poll.Again
	for deadline := time.Now().Add(patience); class == poll.Again && time.Now().Before(deadline); {
		_, class = s.Recv(buf)
	}
	if class != poll.EOF {
		t.Errorf("%v, want EOF", class)
	}
}

func TestBrokenSocketUnderTLSIsGone(t *testing.T) {
	s, sockets, _ := securePair(t)
	sockets.OnRecv(s.wire.fd, polltest.Fail(poll.Gone, syscall.ECONNRESET))
	if _, class := s.Recv(make([]byte, 100)); class != poll.Gone {
		t.Errorf("%v, want Gone", class)
	}
	sockets.OnSend(s.wire.fd, polltest.Fail(poll.Gone, syscall.EPIPE))
	if _, class := s.Send([]byte("x")); class != poll.Gone {
		t.Errorf("%v, want Gone", class)
	}
}

func TestTheDescriptorIsClosedOnce(t *testing.T) {
	s, sockets, _ := securePair(t)
	fd := s.wire.fd
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := sockets.Closes(fd); n != 1 {
		t.Errorf("closed %d times", n)
	}
}
