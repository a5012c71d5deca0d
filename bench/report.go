package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// spread is a series of measurements by what counts of it.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Q1     float64 `json:"q1"` // a quarter is below
	Q3     float64 `json:"q3"` // a quarter is above
	N      int     `json:"n"`
}

func spreadOf(series []float64) spread {
	if len(series) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(series))
	return spread{
		Median: quantile(sorted, 0.5), Min: sorted[0], Max: sorted[len(sorted)-1],
		Q1: quantile(sorted, 0.25), Q3: quantile(sorted, 0.75), N: len(sorted),
	}
}

// middle is what half of the series is within, reach what all of it is.
func (s *spread) middle() string { return fmt.Sprintf("%.3f to %.3f", s.Q1, s.Q3) }
func (s *spread) reach() string  { return fmt.Sprintf("%.3f to %.3f", s.Min, s.Max) }

// mean of a series that is not empty.
func mean(series []float64) float64 {
	sum := 0.0
	for _, v := range series {
		sum += v
	}
	return sum / float64(len(series))
}

// quantile interpolates between the two nearest of a sorted series.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// setting is what a figure is worth nothing without.
type setting struct {
	Time    time.Time `json:"time"`
	Machine string    `json:"machine"`
	Kernel  string    `json:"kernel"`
	Go      string    `json:"go"`
	Commit  string    `json:"commit"`
	Command string    `json:"command"`
}

func settingNow() setting {
	var name unix.Utsname
	_ = unix.Uname(&name) // leaves it empty
	commit := "unknown"
	if out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=12").Output(); err == nil {
		commit = strings.TrimSpace(string(out))
	}
	return setting{
		Time:    time.Now().UTC().Truncate(time.Second),
		Machine: fmt.Sprintf("%d processors, %s", runtime.NumCPU(), processorModel()),
		Kernel:  unix.ByteSliceToString(name.Release[:]),
		Go:      runtime.Version(),
		Commit:  commit,
		Command: "go run ./bench " + strings.Join(os.Args[1:], " "),
	}
}

func processorModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func (s setting) String() string {
	return fmt.Sprintf("%s\nmachine  %s, Linux %s, %s\ncommit   %s\ncommand  %s\n",
		s.Time.Format(time.RFC3339), s.Machine, s.Kernel, s.Go, s.Commit, s.Command)
}

func (s *setting) print(w io.Writer) { fmt.Fprintln(w, s) }

// printJSON writes a report for programs.
func printJSON(w io.Writer, report any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(report)
}
