// Package swarm is the light client: very many WebSocket connections read by one
// event loop, which holds the server to docs/protocol.md while it loads it.
//
//	stream   RFC 6455 without I/O: bytes in, messages out
//	head     what is needed of a frame: topic, seqs, hash, times; few lines a codec
//	sub      the client's rule: every connection checks the chain of every topic
//	full     one connection in M rebuilds its books and compares their state hash
//	witness  connections that were shown the same seq must have the same hash
//	link     one connection: connecting, upgrading, open
//	Swarm    the loop: ramp, churn, slow readers, resumes, figures
//
// It shares no code with the server's fan-out but package poll. Everything that is
// not said to be otherwise is owned by the loop's goroutine; Do gets there.
package swarm
