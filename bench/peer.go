package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"github.com/depthcast/depthcast/bench/observe"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/depthcast/depthcast/fanout/poll"
)

// server is a process under measurement that takes commands on its standard input:
// "publish K" or "publish K AT", and for depthcast also "stats".
type server struct {
	name    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	address string
}

// startServer starts a process on a processor, and waits until it says where it
// listens. env is added to its environment.
func startServer(ctx context.Context, name string, cpu int, env []string, command ...string) (*server, error) {
	s := &server{name: name, cmd: exec.CommandContext(ctx, command[0], command[1:]...)}
	s.cmd.Stderr = os.Stderr
	s.cmd.Env = append(os.Environ(), env...)
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewReader(out)
	if err := observe.PinnedTo(cpu, s.cmd.Start); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	line, err := s.out.ReadString('\n')
	if _, scan := fmt.Sscanf(line, "listening %s\n", &s.address); scan != nil {
		return nil, errors.Join(fmt.Errorf("bench: %s says %q instead of where it listens", name, line), err, s.stop())
	}
	return s, nil
}

// publish makes the server send k messages to all its connections.
func (s *server) publish(k int) error {
	_, err := fmt.Fprintf(s.in, "publish %d\n", k)
	return err
}

// publishAt likewise, with the time at which it was intended, which depthcast sends
// as the venue's time.
func (s *server) publishAt(k int, at time.Time) error {
	_, err := fmt.Fprintf(s.in, "publish %d %d\n", k, at.UnixNano())
	return err
}

// counters are depthcast's own, since it began.
type counters struct {
	objects, bytes float64 // allocated
	frames, calls  float64 // sent, and system calls that sent them
}

func (s *server) counters() (c counters, err error) {
	if _, err = io.WriteString(s.in, "stats\n"); err != nil {
		return c, err
	}
	line, err := s.out.ReadString('\n')
	if err != nil {
		return c, err
	}
	_, err = fmt.Sscanf(line, "allocated %g objects %g bytes, sent %g frames in %g calls\n", &c.objects, &c.bytes, &c.frames, &c.calls)
	if err != nil {
		return c, fmt.Errorf("bench: %s says %q: %w", s.name, line, err)
	}
	return c, nil
}

// stop ends the process and waits for it.
func (s *server) stop() error {
	_ = s.in.Close() // it ends at that
	return s.cmd.Wait()
}

// loop is a way to start a loop over send(2); the frame comes as one more argument.
type loop struct {
	name    string
	command []string
}

// sendLoops returns the references, the best first: C where it can be compiled, Go.
func sendLoops(ctx context.Context, dir string) ([]loop, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	loops := []loop{{"Go loop over sendto(2)", []string{self, "peer", "send-loop"}}}
	compiler, err := exec.LookPath("cc")
	if err != nil {
		return loops, nil
	}
	program, err := compileSend(ctx, compiler, dir)
	if err != nil {
		return nil, err
	}
	return append([]loop{{"C loop over send(2)", []string{program}}}, loops...), nil
}

//go:embed limit/send.c
var sendSource []byte

// compileSend builds the loop in C and returns its path in dir.
func compileSend(ctx context.Context, compiler, dir string) (string, error) {
	source, program := filepath.Join(dir, "send.c"), filepath.Join(dir, "send")
	if err := os.WriteFile(source, sendSource, 0o600); err != nil {
		return "", err
	}
	if out, err := exec.CommandContext(ctx, compiler, "-O2", "-o", program, source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("bench: %s: %w\n%s", compiler, err, out)
	}
	return program, nil
}

// sendLoopCmd is limit/send.c in Go: a loop over sendto(2) as a raw system call.
// It is the reference where there is no C compiler, and shows beside it what Go
// itself costs.
type sendLoopCmd struct {
	Frame  string `arg:"" help:"The frame to send, in hex."`
	Offset int    `arg:"" optional:"" help:"Where in the frame the time of a command goes."`
}

func (c *sendLoopCmd) Run() error {
	frame, err := hex.DecodeString(c.Frame)
	if err != nil || c.Offset < 0 || len(frame) < c.Offset+8 {
		return fmt.Errorf("bench: a frame in hex, and an offset within: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("listening", listener.Addr())
	arrivals := make(chan int, 1<<16)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // the process ends
			}
			fd, err := poll.Detach(conn)
			if err != nil {
				panic(err) // a TCP connection has a descriptor
			}
			arrivals <- fd
		}
	}()
	var batch []byte
	var conns []int
	for commands := bufio.NewScanner(standardInput()); commands.Scan(); {
		var k int
		var at uint64
		n, err := fmt.Sscanf(commands.Text(), "publish %d %d", &k, &at)
		if n == 0 || k < 1 {
			return fmt.Errorf("bench: not a command: %q: %w", commands.Text(), err)
		}
		for len(arrivals) > 0 {
			conns = append(conns, <-arrivals)
		}
		if len(batch) != k*len(frame) {
			batch = []byte(strings.Repeat(string(frame), k))
		}
		for i := 0; n == 2 && i < k; i++ {
			binary.LittleEndian.PutUint64(batch[i*len(frame)+c.Offset:], at)
		}
		for _, fd := range conns {
			if err := sendAll(fd, batch); err != nil {
				return err
			}
		}
	}
	return nil
}

// sendAll sends b, and waits where the socket is full, which never happens in a
// closed loop.
func sendAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, class, errno := poll.Send(fd, b)
		switch class {
		case poll.OK, poll.Partial:
		case poll.Again:
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1); err != nil && err != unix.EINTR {
				return fmt.Errorf("bench: poll: %w", err)
			}
		default:
			return fmt.Errorf("bench: send: %w", errno)
		}
		b = b[n:]
	}
	return nil
}

// standardInput waits in the runtime's poller, not in a system call that would keep
// a P.
func standardInput() *os.File {
	_ = unix.SetNonblock(0, true) // if it cannot be, reading blocks
	return os.NewFile(0, "stdin")
}
