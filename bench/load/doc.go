// Package load runs a load test: worker processes, each with a swarm, led through
// the phases of a profile; figures by phase and second; a verdict.
//
//	Config ──> Run ──orders──> worker (a process) ── Swarm ──> the server
//	              <──news───── samples every second, faults
//	              ──> observe: CPU, memory, sockets, metrics of the server
//	              ──> Feed: what is produced meanwhile, if anything
//	              ──> Report ──> text, JSON, CSV, HTML; Limits.Judge
package load
