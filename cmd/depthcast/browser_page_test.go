package main

import (
	"fmt"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// want waits until the page shows a text.
func (b *browser) want(what, text string) {
	b.t.Helper()
	if page := b.until(fmt.Sprintf("page.%s === %q", what, text)); page[what] != text {
		b.t.Fatalf("the page shows %v, want %s to be %q", page, what, text)
	}
}

// The page offers symbols as they come and go, and says that the one it shows has ended.
func TestPageSaysWhatIsListedAndWhatHasEnded(t *testing.T) {
	l := newLab(t, 1)
	p := l.producer()
	l.writeRaw(p, eventRecord("SIM:A", levels(100, 110), traded(1, 100, 1)))
	r := l.serve(nil)
	r.caughtUpTo(l)
	b := newBrowser(t)
	b.open(r.url())
	b.want("state", "live")
	l.writeRaw(p, eventRecord("SIM:B", levels(100, 110)), eventRecord("SIM:A", ends(proto.ReasonDelisted, "")))
	b.want("symbols", "SIM:A SIM:B") // the chosen one stays
	b.want("state", "ended")
	b.want("why", "delisted")
	b.picture("ended")
}
