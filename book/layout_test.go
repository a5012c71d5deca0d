package book

import (
	"testing"
	"unsafe"
)

// What the comment on book says of its layout, which thousands of books pay for.
func TestWhatEveryRecordNeedsBeginsCacheLines(t *testing.T) {
	if verifying {
		t.Skip("levels have a mirror in this build")
	}
	var b book
	at := uintptr(unsafe.Pointer(newBook(liveEngine(t), "A"))) // the runtime puts a word before it
	for name, field := range map[string]uintptr{
		"chain": unsafe.Offsetof(b.chain), "seq": unsafe.Offsetof(b.seq),
		"bids": unsafe.Offsetof(b.bids), "asks": unsafe.Offsetof(b.asks),
	} {
		if into := (at + field) % 64; into != 0 {
			t.Errorf("%s begins %d bytes into a line", name, into)
		}
	}
}
