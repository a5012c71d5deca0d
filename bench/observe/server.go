package observe

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Server is a server under load: processes of this machine, addresses of metrics
// (http://HOST:9080/metrics), or both. With neither nothing is known of it.
type Server struct {
	PIDs    []int
	Metrics []string
}

// Known reports whether there is anything to observe.
func (s *Server) Known() bool { return len(s.PIDs)+len(s.Metrics) > 0 }

// Usage is what a server has used up to a moment, all processes together.
type Usage struct {
	Time     time.Time     `json:"time"`
	CPU      time.Duration `json:"cpu_ns"`         // 0: not known
	Resident int64         `json:"resident_bytes"` // 0: not known
	// From the metrics; 0 without.
	Connections float64 `json:"connections,omitempty"`
	Frames      float64 `json:"frames,omitempty"` // handed to the kernel
	Sends       float64 `json:"sends,omitempty"`  // system calls that did
	Drops       float64 `json:"drops,omitempty"`
	HeapBytes   float64 `json:"heap_bytes,omitempty"`
	Sockets     Sockets `json:"tcp"` // of this machine
}

// Read takes the figures of now. The operating system's word on CPU and memory is
// preferred to the metrics'.
func (s *Server) Read(ctx context.Context) (Usage, error) {
	u := Usage{Time: time.Now()}
	var err error
	if u.Sockets, err = TCPSockets(); err != nil {
		return u, err
	}
	for _, from := range s.Metrics {
		m, err := metrics(ctx, from)
		if err != nil {
			return u, err
		}
		if len(s.PIDs) == 0 {
			u.CPU += time.Duration(m["process_cpu_seconds_total"] * 1e9)
			u.Resident += int64(m["process_resident_memory_bytes"])
		}
		u.Connections += m["depthcast_fanout_connections"]
		u.Frames += m["depthcast_fanout_frames_total"]
		u.Sends += m["depthcast_fanout_sends_total"]
		u.Drops += m["depthcast_fanout_drops_total"]
		u.HeapBytes += m["go_memstats_heap_inuse_bytes"]
	}
	for _, pid := range s.PIDs {
		cpu, err := CPUTime(pid)
		if err != nil {
			return u, err
		}
		resident, err := Resident(pid)
		if err != nil {
			return u, err
		}
		u.CPU += cpu
		u.Resident += resident
	}
	return u, nil
}

// metricsWithin bounds one question for metrics.
const metricsWithin = 5 * time.Second

// metrics returns the numbers at an address in Prometheus' text form, those with
// labels summed over them.
func metrics(ctx context.Context, from string) (map[string]float64, error) {
	all := map[string]float64{}
	err := eachMetric(ctx, from, func(name, labels string, value float64) { all[name] += value })
	return all, err
}

// Counters returns the numbers at an address by name and labels, as they are written
// there: name{label="value"}.
func Counters(ctx context.Context, from string) (map[string]float64, error) {
	all := map[string]float64{}
	err := eachMetric(ctx, from, func(name, labels string, value float64) { all[name+labels] = value })
	return all, err
}

// eachMetric tells of the numbers at an address.
func eachMetric(ctx context.Context, from string, tell func(name, labels string, value float64)) error {
	ctx, cancel := context.WithTimeout(ctx, metricsWithin)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return fmt.Errorf("bench: metrics: %w", err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("bench: metrics: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("bench: metrics: %s: %s", from, answer.Status)
	}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		line := lines.Text()
		space := strings.LastIndexByte(line, ' ')
		if space < 0 || line[0] == '#' {
			continue
		}
		name, labels, labelled := strings.Cut(line[:space], "{")
		if labelled {
			labels = "{" + labels
		}
		if value, err := strconv.ParseFloat(line[space+1:], 64); err == nil && !math.IsNaN(value) {
			tell(name, labels, value)
		}
	}
	return lines.Err()
}
