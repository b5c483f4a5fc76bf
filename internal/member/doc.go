// Package member is the membership protocol as a pure state machine: who is in
// the cluster, who owns which bucket, and until when. It has no clock, does no
// I/O, starts no goroutine and draws no random numbers: events and the time go
// in, effects come out. docs/protocol.md is its specification; the comments
// name the clauses that the code fulfils.
package member
