package book

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// meter reports the processor time of a benchmark's own thread beside what the
// clock on the wall says: on a machine that others use, the former says more.
type meter struct {
	b     *testing.B
	begun int64
	spent int64
}

// measure begins to measure, with everything before left out.
func measure(b *testing.B) *meter {
	b.Helper()
	runtime.GC()
	runtime.LockOSThread()
	m := &meter{b: b}
	b.ReportAllocs()
	b.ResetTimer()
	m.begun = threadTime()
	return m
}

// pause leaves out what f does.
func (m *meter) pause(f func()) {
	m.b.StopTimer()
	m.spent += threadTime() - m.begun
	f()
	m.begun = threadTime()
	m.b.StartTimer()
}

func (m *meter) stop() {
	m.spent += threadTime() - m.begun
	m.b.StopTimer()
	runtime.UnlockOSThread()
	m.b.ReportMetric(float64(m.spent)/float64(m.b.N), "cpu-ns/op")
}

// threadTime is the processor time of this thread, in ns.
func threadTime() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return t.Nano()
}
