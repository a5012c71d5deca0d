package main

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// adminHandler serves what operators ask: /metrics, /healthz (the process
// answers), /readyz (every partition has caught up) and pprof. It is for a
// listener that strangers do not reach.
func adminHandler(s *server) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics{s}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// partitionStatus is one partition in the answer of /readyz.
type partitionStatus struct {
	Partition   string `json:"partition"`
	CaughtUp    bool   `json:"caught_up"`
	Unreachable bool   `json:"unreachable"`
	Lag         int64  `json:"lag"`
}

// ready answers 200 when the books are those at the end of the log, else 503;
// and how far each partition is.
func (s *server) ready(w http.ResponseWriter, _ *http.Request) {
	answer := struct {
		Ready      bool              `json:"ready"`
		Partitions []partitionStatus `json:"partitions"`
	}{Ready: s.ingest.CaughtUp()}
	for _, p := range s.ingest.Partitions() {
		answer.Partitions = append(answer.Partitions, partitionStatus{
			Partition:   p.ID().String(),
			CaughtUp:    p.CaughtUp(),
			Unreachable: p.Stats().Unreachable.Load(),
			Lag:         p.Stats().Lag(),
		})
	}
	w.Header().Set("Content-Type", "application/json")
	if !answer.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(answer) // the asker may have gone
}
