// Command peers holds the servers that `bench compare` measures beside depthcast:
// the usual ways to send every message to every connection, each as its project's
// own examples have it, with what makes it fast and is commonly used.
//
//	peers NAME PAYLOAD_IN_HEX OFFSET
//
// prints "listening 127.0.0.1:PORT", accepts WebSocket connections, and at each line
// "publish K AT" on its standard input sends K binary messages to all of them, one
// after the other. A message is the payload with AT, 64 bits little-endian, at the
// offset. It ends with its standard input.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// peer is one server: made of a listener, it accepts by itself.
type peer interface {
	// broadcast sends payload, which nobody changes any more, to all connections.
	broadcast(payload []byte) error
}

var peers = map[string]func(net.Listener) (peer, error){
	"gorilla":    newGorilla,
	"coder":      newCoder,
	"nbio":       newNbio,
	"centrifuge": newCentrifuge,
	"gobwas":     newGobwas,
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 4 || peers[os.Args[1]] == nil {
		return errors.New("usage: peers gorilla|coder|nbio|centrifuge|gobwas PAYLOAD_IN_HEX OFFSET")
	}
	payload, err := hex.DecodeString(os.Args[2])
	if err != nil {
		return err
	}
	offset, err := strconv.Atoi(os.Args[3])
	if err != nil || offset < 0 || offset+8 > len(payload) {
		return fmt.Errorf("offset %q of %d bytes", os.Args[3], len(payload))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p, err := peers[os.Args[1]](l)
	if err != nil {
		return err
	}
	fmt.Println("listening", l.Addr())
	for commands := bufio.NewScanner(os.Stdin); commands.Scan(); {
		var k int
		var at int64
		if _, err := fmt.Sscanf(commands.Text(), "publish %d %d", &k, &at); err != nil {
			return fmt.Errorf("not a command: %q", commands.Text())
		}
		for range k {
			message := append([]byte(nil), payload...)
			binary.LittleEndian.PutUint64(message[offset:], uint64(at))
			if err := p.broadcast(message); err != nil {
				return err
			}
		}
	}
	return nil
}

// serve runs an HTTP server until the process ends.
func serve(l net.Listener, h http.Handler) {
	go func() {
		server := http.Server{Handler: h, ReadHeaderTimeout: 20 * time.Second}
		fmt.Fprintln(os.Stderr, "peers:", server.Serve(l))
		os.Exit(1)
	}()
}

// waiting is how many messages a connection's queue holds, where there is one. A
// connection whose queue is full is dropped, as in the examples.
const waiting = 1024
