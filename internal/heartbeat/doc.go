// Package heartbeat is the process that keeps a node in its cluster: `shoal
// heartbeat`, which the agent starts. It runs the membership protocol
// (internal/member), and nothing that takes long: one real-time thread waits
// for heartbeats, the agent, links and the next tick; a second one writes what
// must survive a restart. A node must not lose its lease because a garbage
// collector runs, a program is loaded or a disk is slow.
//
// The agent side is Process: it starts the process and speaks with it over a
// socket pair. The agent decides nothing in the protocol. It is watched all
// the same: without an agent nobody keeps programs and addresses in place, so
// the node gives its buckets up, by message, when the agent is gone, and hands them
// over when it shows no life for a second or ten leases, whichever is longer.
package heartbeat
