// Package sim proves the membership protocol by simulation: many members
// (internal/member, the code that runs in production) under a virtual clock,
// over a network that loses, delays, duplicates, reorders and replays frames
// and falls apart, on hosts whose processes stop, die and start again and whose
// data planes live on meanwhile. An oracle that sees all of it at every instant
// checks the invariants of docs/protocol.md.
//
// A run is decided by its setup and seed alone. Random schedules are drawn from
// a seed; scripts in testdata tell the named cases. Both consist of the same
// lines (World.Do), so that a schedule that failed is a script.
//
//	go test ./internal/sim -run TestScripts -update            rewrite what the scripts expect
//	go test ./internal/sim -run TestSchedules -schedules 1000000 -from 1
//	go test ./internal/sim -run TestSeed -seed 4711 -trace     replay one, told in full
//	go test ./internal/sim -run TestSeed -seed 4711 -shrink    the shortest script that fails likewise
//
// What the oracle excuses:
//
//   - Invariant 1, with partition: available: two nodes that lost touch, and a
//     lease more after they are in touch again. They have lost touch when no
//     frame of either, or of any node that is in touch with it, arrived at the
//     other for a lease. What waits for a stopped process has arrived.
//   - Invariants 3 and 4, while no quorum exists: see coverage. Nobody is in a
//     quorum while frames are lost at random, or within a lease, the drift
//     margin and one and a half heartbeats of starting.
//   - Invariant 6, when half of the voters have lost their memory.
package sim
