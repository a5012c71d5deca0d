package observe

import (
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

func processor(cpu int) *unix.CPUSet {
	var set unix.CPUSet
	set.Set(cpu)
	return &set
}

// PinSelf keeps all threads of this process on one processor. Those to come
// inherit that.
func PinSelf(cpu int) error {
	// Fixed, or the runtime would follow the affinity down to one P, which an
	// event loop that waits keeps for itself.
	runtime.GOMAXPROCS(2)
	err := eachThread(func(tid int) error { return unix.SchedSetaffinity(tid, processor(cpu)) })
	if err != nil {
		return fmt.Errorf("bench: pin to processor %d: %w", cpu, err)
	}
	return nil
}

// leastPriority is that of who takes what others leave of a processor.
const leastPriority = 19

// Yield lets all other processes come first. Threads to come inherit that.
func Yield() error {
	err := eachThread(func(tid int) error { return unix.Setpriority(unix.PRIO_PROCESS, tid, leastPriority) })
	if err != nil {
		return fmt.Errorf("bench: priority: %w", err)
	}
	return nil
}

// eachThread calls do for the threads of this process; one may have ended.
func eachThread(do func(tid int) error) error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		tid, _ := strconv.Atoi(task.Name()) // all names there are numbers
		if err := do(tid); err != nil && err != unix.ESRCH {
			return err
		}
	}
	return nil
}

// PinnedTo calls start, which starts a process, on a thread of the processor, so
// that the process is there from its first instruction. No processor: cpu < 0.
func PinnedTo(cpu int, start func() error) error {
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
