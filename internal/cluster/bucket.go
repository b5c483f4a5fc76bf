package cluster

import "github.com/shoal-net/shoal/match"

// Bucket returns the bucket of a flow, 0..Buckets-1, as the data plane computes
// it (bpf/bucket.h). Server and what goes with it count with the flow affinity
// only.
func (h Hash) Bucket(f match.Flow) int {
	hash := match.Hash{Seed: h.Seed, IPv6FirstWord: h.IPv6FirstWord}
	switch h.Affinity {
	case ByNetwork:
		return match.Bucket(hash.Network(f.Client), h.Buckets)
	case ByFlow:
		return match.Bucket(hash.Flow(f), h.Buckets)
	}
	return match.Bucket(hash.Client(f.Client), h.Buckets)
}
