package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns what the process has used on all processors, its kernel time
// included, in the clock's nanoseconds: the clock of clock_getcpuclockid(3).
func cpuTime(pid int) (time.Duration, error) {
	const schedClock = 2 // CPUCLOCK_SCHED: the whole process, as the scheduler accounts it
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|schedClock, &t); err != nil {
		return 0, fmt.Errorf("bench: CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// softirqd returns the process number of the kernel thread that does the
// processor's deferred network work, 0 where it cannot be seen (a container).
func softirqd(cpu int) int {
	names, _ := filepath.Glob("/proc/[0-9]*/comm") // the pattern is valid
	for _, name := range names {
		if comm, err := os.ReadFile(name); err == nil && strings.TrimSpace(string(comm)) == fmt.Sprintf("ksoftirqd/%d", cpu) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name))) // the pattern says that it is a number
			return pid
		}
	}
	return 0
}

// meter reads the CPU time that is charged to a server: its own, and that of
// ksoftirqd on the processor that it alone runs on.
type meter struct {
	server, softirqd int
}

func (m meter) read() (time.Duration, error) {
	used, err := cpuTime(m.server)
	if err != nil || m.softirqd == 0 {
		return used, err
	}
	deferred, err := cpuTime(m.softirqd)
	return used + deferred, err
}

func processor(cpu int) *unix.CPUSet {
	var set unix.CPUSet
	set.Set(cpu)
	return &set
}

// pinSelf keeps all threads of this process on one processor. Those to come
// inherit that.
func pinSelf(cpu int) error {
	// Fixed, or the runtime would follow the affinity down to one P, which an
	// event loop that waits keeps for itself.
	runtime.GOMAXPROCS(2)
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("bench: threads: %w", err)
	}
	for _, task := range tasks {
		tid, _ := strconv.Atoi(task.Name()) // all names there are numbers
		if err := unix.SchedSetaffinity(tid, processor(cpu)); err != nil && err != unix.ESRCH {
			return fmt.Errorf("bench: pin to processor %d: %w", cpu, err)
		}
	}
	return nil
}

// pinnedTo calls start, which starts a process, on a thread of the processor, so
// that the process is there from its first instruction. No processor: cpu < 0.
func pinnedTo(cpu int, start func() error) error {
	if cpu < 0 {
		return start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("bench: affinity: %w", err)
	}
	if err := unix.SchedSetaffinity(0, processor(cpu)); err != nil {
		return fmt.Errorf("bench: pin to processor %d: %w", cpu, err)
	}
	defer func() { _ = unix.SchedSetaffinity(0, &before) }() // it was so before
	return start()
}

// residentBytes returns the process's resident set.
func residentBytes(pid int) (int64, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, fmt.Errorf("bench: resident memory: %w", err)
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return 0, fmt.Errorf("bench: resident memory: %q", statm)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("bench: resident memory: %w", err)
	}
	return pages * int64(os.Getpagesize()), nil
}
