// Package share computes who owns which bucket. Pure.
package share

import (
	"fmt"

	"github.com/shoal-net/shoal/internal/cluster"
)

// Static returns the owner (a node's id) of each bucket for a list of nodes
// that does not change: first the buckets that nodes list, then the rest in
// runs, in order of the nodes, to those that list none. Shares of those differ
// by at most one bucket. With as many buckets as nodes, in order of their ids,
// bucket i goes to the i-th node: the table of the kernel's cluster match.
//
// A bucket that two nodes list, or that is left without an owner, is an error.
func Static(nodes []cluster.Node, buckets int) ([]uint8, error) {
	owners := make([]uint8, buckets)
	var even []uint8
	for _, n := range nodes {
		if n.Buckets == nil {
			even = append(even, uint8(n.ID))
		}
		for _, r := range n.Buckets {
			if r.First < 0 || r.Last >= buckets || r.First > r.Last {
				return nil, fmt.Errorf("node %d: buckets %d-%d: not within 0-%d", n.ID, r.First, r.Last, buckets-1)
			}
			for b := r.First; b <= r.Last; b++ {
				if owners[b] != 0 {
					return nil, fmt.Errorf("node %d: bucket %d belongs to node %d already", n.ID, b, owners[b])
				}
				owners[b] = uint8(n.ID)
			}
		}
	}
	return owners, fill(owners, even)
}

// fill gives the buckets without an owner to the nodes, in runs.
func fill(owners, nodes []uint8) error {
	var free []int
	for b, owner := range owners {
		if owner == 0 {
			free = append(free, b)
		}
	}
	if len(free) == 0 {
		return nil
	}
	if len(nodes) == 0 {
		return fmt.Errorf("bucket %d has no owner: every node lists its buckets, and none lists this one", free[0])
	}
	for i, b := range free {
		owners[b] = nodes[i*len(nodes)/len(free)]
	}
	return nil
}
