package fanout

import (
	"testing"
	"time"
	"unsafe"
)

// TestConnectionsAndSubscriptionsKeepTheirSizeClass: a word more in one of them is 32
// and 16 bytes more for each, as the allocator rounds up.
func TestConnectionsAndSubscriptionsKeepTheirSizeClass(t *testing.T) {
	if size := unsafe.Sizeof(conn{}); size > 256 {
		t.Errorf("a connection takes %d bytes, at most 256", size)
	}
	if size := unsafe.Sizeof(subscription{}); size > 48 {
		t.Errorf("a subscription takes %d bytes, at most 48", size)
	}
}

func TestBucketGivesItsBurstAndThenItsRate(t *testing.T) {
	const interval, burst = 20, 5
	var b bucket
	now, took := time.Duration(1000), 0
	for b.take(now, interval, burst) == 0 {
		took++
	}
	if took != burst {
		t.Errorf("%d at once, want %d", took, burst)
	}
	for range 100 {
		if b.take(now+interval-1, interval, burst) == 0 {
			t.Fatal("one came back before its time")
		}
		now += interval
		if b.take(now, interval, burst) > 0 {
			t.Fatal("none came back in its time")
		}
	}
	for took, now = 0, now+1000*interval; b.take(now, interval, burst) == 0; took++ {
	}
	if took != burst {
		t.Errorf("%d at once after a long time, want %d", took, burst)
	}
}
