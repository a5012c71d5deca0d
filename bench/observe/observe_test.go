package observe

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
)

func TestCPUClockOfAProcessRuns(t *testing.T) {
	m := Meter{Server: os.Getpid()}
	before, err := m.Read()
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		after, err := m.Read()
		if err != nil {
			t.Fatal(err)
		}
		if after > before {
			return
		}
	}
	t.Error("reading it a thousand times took no time")
}

func TestServerIsKnownByItsProcessAndItsMetrics(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("# HELP x y\ndepthcast_fanout_drops_total{reason=\"a b\"} 2\n" +
			"depthcast_fanout_drops_total{reason=\"c\"} 3\nprocess_cpu_seconds_total 1.5\nprocess_resident_memory_bytes 4096\n"))
	}))
	defer page.Close()
	u, err := (&Server{Metrics: []string{page.URL}}).Read(context.Background())
	if err != nil || u.Drops != 5 || u.CPU != 1_500_000_000 || u.Resident != 4096 {
		t.Errorf("%+v, %v", u, err)
	}
	u, err = (&Server{PIDs: []int{os.Getpid()}, Metrics: []string{page.URL}}).Read(context.Background())
	if err != nil || u.Drops != 5 || u.CPU == 1_500_000_000 || u.Resident <= 4096 || u.Sockets.MemoryBytes < 0 {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := (&Server{PIDs: []int{1 << 30}}).Read(context.Background()); err == nil {
		t.Error("a process that is not there has figures")
	}
}

func TestSocketMemoryIsThatOfTCP(t *testing.T) {
	s, err := parseSockets("sockets: used 10\nTCP: inuse 7 orphan 0 tw 3 alloc 9 mem 5\nUDP: inuse 1 mem 9\n")
	if err != nil || s.InUse != 7 || s.MemoryBytes != 5*int64(os.Getpagesize()) {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := parseSockets("UDP: inuse 1\n"); err == nil {
		t.Error("no TCP, no error")
	}
}
