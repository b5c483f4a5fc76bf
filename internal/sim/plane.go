package sim

import "github.com/shoal-net/shoal/internal/member"

// Bucket states as in bpf/abi.h.
const (
	owned     = 1
	acquiring = 2
)

// plane is a node's data plane. It lives by itself: it goes on under its lease
// while the process that steers it is stopped or dead, and ends only with the
// host's power.
type plane struct {
	table      uint64 // the buckets that it handles: bit b for bucket b
	tableEpoch uint64
	deadline   member.Time // of the lease, by the host's clock; 0: none
	leaseEpoch uint64
}

// handles returns the buckets whose packets are handled by the data plane when
// its host's clock shows now.
func (p *plane) handles(now member.Time) uint64 {
	if now >= p.deadline || p.tableEpoch < p.leaseEpoch {
		return 0
	}
	return p.table
}

// load takes over a table. Whoever acquires takes new flows, so at most one may
// own or acquire a bucket.
func (p *plane) load(epoch uint64, states []uint8) {
	p.table, p.tableEpoch = 0, epoch
	for b, s := range states {
		if s == owned || s == acquiring {
			p.table |= 1 << b
		}
	}
}
