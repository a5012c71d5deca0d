//go:build linux

package poll

import (
	"errors"
	"fmt"
	"sync"

	"github.com/mailru/easygo/netpoll"
	"golang.org/x/sys/unix"
)

var (
	// ErrClosed is returned once a poller was closed or its loop has failed.
	ErrClosed = netpoll.ErrClosed
	// ErrRegistered is returned by Add for a descriptor that is there already,
	// or that was closed without Del.
	ErrRegistered = netpoll.ErrRegistered
	// ErrNotRegistered is returned by Mod and Del.
	ErrNotRegistered = netpoll.ErrNotRegistered
	// ErrConfig marks an incomplete Config.
	ErrConfig = errors.New("poll: bad configuration")
)

// Events is a set of epoll events.
type Events uint32

const (
	In     Events = unix.EPOLLIN
	Out    Events = unix.EPOLLOUT
	PeerIn Events = unix.EPOLLRDHUP // the peer will write no more
)

const (
	broken = Events(unix.EPOLLERR | unix.EPOLLHUP)
	edge   = unix.EPOLLET

	// closed is easygo's own event for callbacks that outlive the loop.
	// It is the bit of EPOLLNVAL, which epoll never reports.
	closed = 0x20
)

// Readable reports whether Recv has something to say: bytes, end or error.
func (e Events) Readable() bool { return e&(In|PeerIn|broken) != 0 }

// Writable reports whether Send has something to say: room or error.
func (e Events) Writable() bool { return e&(Out|broken) != 0 }

// Handler is told when its descriptor is ready. Ready runs on the loop's
// goroutine and must not block; see the package comment for what it must heed.
type Handler interface {
	Ready(Events)
}

// Config says what a poller calls.
type Config struct {
	// Turn runs on the loop's goroutine after Wake and at the deadline of WakeAt.
	// It may run when there is nothing to do. Required.
	Turn func()

	// OnFatal runs once, on the loop's goroutine, when the loop ends for another
	// reason than Close. No callback follows it; what the poller serves can only
	// be closed. It must not call Close (which waits for it to return). Required.
	OnFatal func(error)
}

func (c *Config) validate() error {
	if c.Turn == nil || c.OnFatal == nil {
		return fmt.Errorf("%w: Turn and OnFatal are required", ErrConfig)
	}
	return nil
}

// Poller is one epoll instance and its goroutine.
type Poller struct {
	// Static after New.
	config Config
	epoll  *netpoll.Epoll
	waker  *waker
	timer  *timer

	// mu guards ended, and keeps the descriptor of the epoll instance from being
	// used after a failed loop has closed it.
	mu    sync.RWMutex
	ended bool
}

// New starts a poller. It takes four descriptors until Close.
func New(c Config) (*Poller, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	p := &Poller{config: c}
	var err error
	if p.waker, err = newWaker(c.Turn); err != nil {
		return nil, err
	}
	if p.timer, err = newTimer(c.Turn); err != nil {
		p.waker.close()
		return nil, err
	}
	p.epoll, err = netpoll.EpollCreate(&netpoll.EpollConfig{OnWaitError: p.fail})
	if err != nil {
		p.waker.close()
		p.timer.close()
		return nil, fmt.Errorf("poll: epoll: %w", err)
	}
	// Edge-triggered, so that neither has to be read.
	err = p.Add(p.waker.fd, In|edge, p.waker)
	if err == nil {
		err = p.Add(p.timer.fd, In|edge, p.timer)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Add registers fd: h is told when one of events is true of it, and of errors and
// hang-up in any case. fd need not be nonblocking for this package's calls. A
// failed Add leaves nothing behind. Any goroutine may call it.
func (p *Poller) Add(fd int, events Events, h Handler) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.ended {
		return ErrClosed
	}
	err := p.epoll.Add(fd, netpoll.EpollEvent(events), func(event netpoll.EpollEvent) {
		if event != closed {
			h.Ready(Events(event))
		}
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrClosed), errors.Is(err, ErrRegistered):
		return err
	}
	// The system call failed after easygo had noted the callback. Its Del takes
	// the note back first and then fails too, since epoll never knew fd.
	_ = p.epoll.Del(fd)
	return fmt.Errorf("poll: add: %w", err)
}

// Mod replaces the events of a registered descriptor. Any goroutine may call it;
// what it changes is seen by the loop's next wait.
func (p *Poller) Mod(fd int, events Events) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.ended {
		return ErrClosed
	}
	return p.epoll.Mod(fd, netpoll.EpollEvent(events))
}

// Del ends the registration of fd, also when it returns an error other than
// ErrClosed. It comes before fd is closed. Its handler may be called once more if
// the loop had fetched its event already.
func (p *Poller) Del(fd int) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.ended {
		return ErrClosed
	}
	return p.epoll.Del(fd)
}

// Close ends the loop, waits for the callback that is running, and frees the
// poller's own descriptors. Registered ones stay open; no handler is called any
// more. It must not be called from a callback, for which it would wait for ever.
// A second Close returns ErrClosed.
func (p *Poller) Close() error {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()

	err := p.epoll.Close()
	if errors.Is(err, ErrClosed) {
		return err
	}
	p.waker.close()
	p.timer.close()
	if err != nil {
		return fmt.Errorf("poll: close: %w", err)
	}
	return nil
}

// fail is called by easygo when its wait fails, and a second time if the close of
// its epoll descriptor does; also on an orderly end, where that is of no interest.
func (p *Poller) fail(err error) {
	p.mu.Lock()
	already := p.ended
	p.ended = true
	p.mu.Unlock()
	if !already {
		p.config.OnFatal(fmt.Errorf("poll: epoll wait: %w", err))
	}
}
