package fanout

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto/pb"
)

// timed is an answer to a client that takes a while for each piece.
type timed struct {
	*httptest.ResponseRecorder
	after func()    // it takes that long; may be nil
	until time.Time // of the next write
	late  int       // writes that had no time of their own
	sized int       // of more than a few bytes
}

func (w *timed) SetReadDeadline(time.Time) error { return nil }

func (w *timed) SetWriteDeadline(at time.Time) error {
	w.until = at
	return nil
}

func (w *timed) Write(b []byte) (int, error) {
	if len(b) > 100 {
		w.sized++
	}
	if len(b) > 100 && w.until.IsZero() {
		w.late++
	}
	w.until = time.Time{}
	if w.after != nil {
		w.after()
	}
	return w.ResponseRecorder.Write(b)
}

// A slow client gets a great answer to its end, as long as it takes some of it now and
// then: each piece has a time of its own, to be read and to be written.
func TestEachPieceOfAPollHasItsOwnTime(t *testing.T) {
	r := newRig(t, nil, btc)
	var bids []int64
	for price := range int64(20_000) {
		bids = append(bids, 10_000+price, 1)
	}
	r.book(btc).set(bids...)
	w := &timed{ResponseRecorder: httptest.NewRecorder()}
	ask := &pb.Subscribe{Items: []*pb.SubscribeItem{{Symbol: btc}}}
	asked := httptest.NewRequest(http.MethodGet, "/v1/poll", nil)
	l, err := r.hub.openRelay(asked, &eventStream{ask: ask, eager: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	w.after = func() { _ = l.pipe.SetReadDeadline(time.Unix(1, 0)) } // whatever time there was is over
	a := pollAnswer{w: w, control: http.NewResponseController(w), relay: l, until: time.Now().Add(patience)}
	if err := a.collect(asked.Context()); err != nil {
		t.Fatal(err)
	}
	a.end()
	if w.late > 0 || w.sized < 3 || a.bytes < 200_000 || a.cursor == "" {
		t.Errorf("%d of %d writes had no time of their own; %d bytes, the cursor %q", w.late, w.sized, a.bytes, a.cursor)
	}
}
