package fanout

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// How long a poll may wait, and waits where it does not say, in ms.
const (
	maxPollWaitMS     = 30_000
	defaultPollWaitMS = 20_000
)

const (
	// maxPollBytes is about how much one poll answers; the next has the rest.
	maxPollBytes = 1 << 20
	// maxEarlyBytes is from how many bytes of acks and errors on a poll is answered
	// without data. Those of as many topics as it may have are fewer.
	maxEarlyBytes = 128 << 10
	// pollGrace bounds the time in which the acks, and the rest of a frame that has
	// begun, must arrive.
	pollGrace = 5 * time.Second
)

// servePoll answers with what is owed to a client from its cursor on, at the latest
// after its wait. A poll is an event stream that ends with the first data, its
// cursor a resume token.
func (h *Hub) servePoll(w http.ResponseWriter, r *http.Request) {
	q := query{values: r.URL.Query()}
	wait := time.Duration(q.number("wait_ms", defaultPollWaitMS, maxPollWaitMS)) * time.Millisecond
	ask, err := asked(r, q.values.Get("cursor"))
	if err = errors.Join(q.err, err); err != nil {
		httpError(w, http.StatusBadRequest, "bad_request", err.Error())
		return
	}
	if r.Method == http.MethodHead {
		h.serveHead(w, r, typeJSON)
		return
	}
	grant, err := h.enter(r)
	if !letIn(w, err) {
		return
	}
	l, err := h.openRelay(r, &eventStream{ask: ask, eager: true}, grant)
	if !letIn(w, err) {
		return
	}
	defer l.close()
	a := pollAnswer{w: w, control: http.NewResponseController(w), relay: l, until: time.Now().Add(wait), stall: h.config.StallTimeout}
	_ = a.control.SetReadDeadline(time.Time{}) // where these cannot be set, those of the server hold
	_ = a.control.SetWriteDeadline(time.Time{})
	if err := a.collect(r.Context()); err != nil {
		// Its end must not look like one of an answer.
		panic(http.ErrAbortHandler)
	}
	a.end()
}

// pollAnswer writes {"type":"poll","frames":[…],"cursor":"…"} as the frames come, so
// that it keeps no snapshot. Nothing is written before there is data or the wait is
// over.
type pollAnswer struct {
	w       http.ResponseWriter
	control *http.ResponseController
	relay   *relay
	until   time.Time
	stall   time.Duration // that one write may take
	early   bytes.Buffer  // acks and errors, while there is no data
	cursor  string        // the last that was told; a resume token is its own JSON
	named   bool          // it names all that has come
	begun   bool          // there is data: w is written to
	frames  int
	bytes   int
	ended   bool // the stream has no more to say
}

// Write answers with b, for which the client has as long as a socket may take nothing.
func (a *pollAnswer) Write(b []byte) (int, error) {
	_ = a.control.SetWriteDeadline(time.Now().Add(a.stall))
	return a.w.Write(b)
}

// collect takes events until all that was sent at once is here, or the time is over.
func (a *pollAnswer) collect(ctx context.Context) error {
	grace := time.Now().Add(pollGrace)
	for !a.ended && !a.complete() {
		deadline := a.until
		if a.begun || a.cursor == "" {
			deadline = grace
		}
		if err := a.await(ctx, deadline); errors.Is(err, os.ErrDeadlineExceeded) && !a.begun && a.cursor != "" {
			return nil // the wait is over
		} else if err != nil {
			return err
		}
		if err := a.line(ctx); err != nil {
			return err
		}
		grace = time.Now().Add(pollGrace)
	}
	return nil
}

// complete reports whether the answer may end here: the cursor names what it has
// brought, and nothing more has come with it, or it is long enough.
func (a *pollAnswer) complete() bool {
	if !a.begun {
		return a.early.Len() >= maxEarlyBytes && a.cursor != ""
	}
	return a.named && (a.relay.Buffered() <= len("\n") || a.bytes > maxPollBytes)
}

// await waits until there is something to read.
func (a *pollAnswer) await(ctx context.Context, deadline time.Time) error {
	if err := a.within(ctx, deadline); err != nil {
		return err
	}
	_, err := a.relay.Peek(1)
	return err
}

// within bounds what is read next, unless the asker has gone.
func (a *pollAnswer) within(ctx context.Context, deadline time.Time) error {
	_ = a.relay.pipe.SetReadDeadline(deadline) // a pipe that is closed fails when it is read
	return ctx.Err()                           // it may have ended before the deadline was set
}

// What lines begin with that say where the client stands.
var idBegin = []byte("id: ")

// Frames that a poll has no use for, that say how its items fare, and after which
// nothing comes. All others are data.
var (
	pollSkips = [][]byte{[]byte(`{"type":"hello"`), []byte(`{"type":"keepalive"`)}
	pollEarly = [][]byte{[]byte(`{"type":"ack"`), []byte(`{"type":"error"`)}
	pollEnds  = [][]byte{[]byte(`{"type":"drain"`), []byte(`{"type":"close"`)}
)

func beginsWithAny(line []byte, all [][]byte) bool {
	for _, begin := range all {
		if bytes.HasPrefix(line, begin) {
			return true
		}
	}
	return false
}

// line takes the line that has begun to arrive.
func (a *pollAnswer) line(ctx context.Context) error {
	line, whole, err := a.piece(ctx)
	if err != nil {
		return err
	}
	if id, is := bytes.CutPrefix(line, idBegin); is && whole {
		a.cursor, a.named = string(bytes.TrimSpace(id)), true
		return nil
	}
	frame, is := bytes.CutPrefix(line, eventBegin)
	to := io.Writer(a)
	switch {
	case !is || beginsWithAny(frame, pollSkips):
		to = io.Discard
	case beginsWithAny(frame, pollEarly) && !a.begun:
		to = &a.early
		a.comma(to)
	default:
		a.named, a.ended = false, beginsWithAny(frame, pollEnds)
		a.begin()
		a.comma(to)
	}
	return a.copyTo(ctx, to, frame, whole)
}

// piece returns the next of a line: all of it, or as much as the buffer holds. However
// long the client took for the one before, this one has its time.
func (a *pollAnswer) piece(ctx context.Context) (b []byte, whole bool, err error) {
	if err := a.within(ctx, time.Now().Add(pollGrace)); err != nil {
		return nil, false, err
	}
	b, err = a.relay.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return b, false, nil
	}
	return bytes.TrimSuffix(b, []byte("\n")), true, err
}

// copyTo writes a frame, of which the first piece is given.
func (a *pollAnswer) copyTo(ctx context.Context, to io.Writer, frame []byte, whole bool) error {
	for {
		n, err := to.Write(frame)
		if a.bytes += n; err != nil || whole {
			return err
		}
		if frame, whole, err = a.piece(ctx); err != nil {
			return err
		}
	}
}

// comma goes before every frame but the first.
func (a *pollAnswer) comma(to io.Writer) {
	if a.frames++; a.frames > 1 {
		_, _ = to.Write([]byte{','}) // the frame after it meets the same error
	}
}

// begin writes what goes before data.
func (a *pollAnswer) begin() {
	if a.begun {
		return
	}
	a.begun = true
	a.w.Header().Set("Content-Type", typeJSON)
	a.w.Header().Set("Cache-Control", "no-store")
	_, _ = fmt.Fprintf(a, `{"type":"poll","frames":[%s`, a.early.Bytes()) // what follows meets the same error
}

// end writes what goes after the frames.
func (a *pollAnswer) end() {
	a.begin()
	_, _ = fmt.Fprintf(a, "],\"cursor\":\"%s\"}\n", a.cursor) // the asker may have gone
}
