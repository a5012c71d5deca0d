// Package observe reads what a process and the kernel's network use: CPU clocks,
// resident memory, socket memory, and the metrics that depthcast and Go's runtime
// publish. Linux only.
package observe

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPUTime returns what the process has used on all processors, its kernel time
// included, in the clock's nanoseconds: the clock of clock_getcpuclockid(3).
func CPUTime(pid int) (time.Duration, error) {
	const schedClock = 2 // CPUCLOCK_SCHED: the whole process, as the scheduler accounts it
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|schedClock, &t); err != nil {
		return 0, fmt.Errorf("bench: CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// Sleeps returns how often threads of this process gave up their processor to wait.
func Sleeps() int64 {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // fails for a bad argument only
	return u.Nvcsw
}

// Softirqd returns the process number of the kernel thread that does the
// processor's deferred network work, 0 where it cannot be seen (a container).
func Softirqd(cpu int) int {
	names, _ := filepath.Glob("/proc/[0-9]*/comm") // the pattern is valid
	for _, name := range names {
		if comm, err := os.ReadFile(name); err == nil && strings.TrimSpace(string(comm)) == fmt.Sprintf("ksoftirqd/%d", cpu) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name))) // the pattern says that it is a number
			return pid
		}
	}
	return 0
}

// Meter reads the CPU time that is charged to a server: its own, and that of
// ksoftirqd on the processor that it alone runs on.
type Meter struct {
	Server, Softirqd int
}

// Read returns the time used so far.
func (m Meter) Read() (time.Duration, error) {
	used, err := CPUTime(m.Server)
	if err != nil || m.Softirqd == 0 {
		return used, err
	}
	deferred, err := CPUTime(m.Softirqd)
	return used + deferred, err
}

// Resident returns the process's resident set in bytes.
func Resident(pid int) (int64, error) {
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

// ResetPeak has the kernel forget how much memory a process of this user ever had.
func ResetPeak(pid int) error {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil { // proc(5): the peak of the resident set
		return fmt.Errorf("bench: peak of resident memory: %w", err)
	}
	return nil
}

// Peak returns the most that the process's resident set was since ResetPeak, in bytes.
func Peak(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("bench: peak of resident memory: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("bench: process %d does not say its peak of resident memory", pid)
}

// Sockets is the kernel's memory for TCP on this machine, both ends of loopback
// connections: what queues hold, and how many sockets there are. The sockets' own
// structures (some 2 to 3 KB each) come on top.
type Sockets struct {
	InUse       int64 `json:"in_use"`
	MemoryBytes int64 `json:"memory_bytes"`
}

// TCPSockets reads /proc/net/sockstat.
func TCPSockets() (Sockets, error) {
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return Sockets{}, fmt.Errorf("bench: socket memory: %w", err)
	}
	return parseSockets(string(text))
}

func parseSockets(text string) (Sockets, error) {
	for line := range strings.Lines(text) {
		words, ok := strings.CutPrefix(line, "TCP: ")
		if !ok {
			continue
		}
		var s Sockets
		fields := strings.Fields(words)
		for i := 0; i+1 < len(fields); i += 2 {
			n, err := strconv.ParseInt(fields[i+1], 10, 64)
			switch {
			case err != nil:
				return s, fmt.Errorf("bench: /proc/net/sockstat: %q", line)
			case fields[i] == "inuse":
				s.InUse = n
			case fields[i] == "mem":
				s.MemoryBytes = n * int64(os.Getpagesize())
			}
		}
		return s, nil
	}
	return Sockets{}, fmt.Errorf("bench: /proc/net/sockstat has no line of TCP")
}
