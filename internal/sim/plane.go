package sim

import "github.com/shoal-net/shoal/internal/member"

// Bucket states as in bpf/abi.h.
const (
	owned     = 1
	acquiring = 2
	draining  = 3
	held      = 4
)

// plane is a node's data plane. It lives by itself: it goes on under its lease
// while the process that steers it is stopped or dead, and ends only with the
// host's power.
type plane struct {
	table      uint64 // the buckets whose new flows it takes: bit b for bucket b
	owned      uint64 // … of these, those of which it answers for all flows
	held       uint64 // … and those of which it awaits what old owners keep
	drains     uint64 // the buckets of which it keeps the flows that it has
	tableEpoch uint64
	deadline   member.Time // of the lease, by the host's clock; 0: none
	leaseEpoch uint64
}

// leased reports whether the data plane may handle anything when its host's clock
// shows now.
func (p *plane) leased(now member.Time) bool { return now < p.deadline && p.tableEpoch >= p.leaseEpoch }

// handles returns the buckets whose new flows it takes then.
func (p *plane) handles(now member.Time) uint64 {
	if !p.leased(now) {
		return 0
	}
	return p.table
}

// load takes over a table. Whoever acquires takes new flows, so at most one may
// own or acquire a bucket.
func (p *plane) load(epoch uint64, states []uint8) {
	p.table, p.owned, p.held, p.drains, p.tableEpoch = 0, 0, 0, 0, epoch
	for b, s := range states {
		switch s {
		case owned:
			p.owned |= 1 << b
		case held:
			p.held |= 1 << b
		case draining:
			p.drains |= 1 << b
		}
		if s == owned || s == acquiring || s == held {
			p.table |= 1 << b
		}
	}
}
