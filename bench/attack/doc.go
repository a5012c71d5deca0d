// Package attack does to a server what those do who would harm it, one kind at a
// time, and notes what the server answers. It is a process of its own beside the
// honest clients of package load, whose latencies tell whether it did harm.
//
//	attack   the kinds, and what the documents say that each is answered by
//	link     one connection: dialling, upgrading, frames in and out
//	door     those that never become a reader: slowloris, handshakes, connections, log
//	flood    those that say too much: ping, churn, snapshots, bytes
//	shape    those that say something impossible: bigframe, bomb, garbage; and stall, who does not listen
//
// Every connection ends with the attack's context.
package attack
