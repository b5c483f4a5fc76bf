// Package share computes who owns which bucket: Static for a list of nodes that
// does not change, Next for one that does. Pure.
package share

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/shoal-net/shoal/internal/cluster"
)

// Error says why there is no table. Node is the id of the node at fault, 0 if
// it is no single one's.
type Error struct {
	Node   int
	Reason string
}

func (e *Error) Error() string {
	if e.Node == 0 {
		return e.Reason
	}
	return fmt.Sprintf("node %d: %s", e.Node, e.Reason)
}

// Static returns the owner (a node's id) of each bucket for a list of nodes
// that does not change: first the buckets that nodes list, then the rest in
// runs, in order of the nodes' ids, to those that list none. Shares of those
// differ by at most one bucket. With as many buckets as nodes, bucket i goes to
// the i-th node: the table of the kernel's cluster match. The order of nodes
// makes no difference.
//
// An id outside 1..64, or given twice, a bucket that is listed twice or that
// does not exist, and one that is left without an owner, are an *Error.
func Static(nodes []cluster.Node, buckets int) ([]uint8, error) {
	if buckets < 1 || buckets > cluster.MaxBuckets {
		return nil, &Error{Reason: fmt.Sprintf("%d buckets: not within 1-%d", buckets, cluster.MaxBuckets)}
	}
	// Nodes whose files list them in different orders must come to one table.
	nodes = slices.SortedFunc(slices.Values(nodes), func(a, b cluster.Node) int { return cmp.Compare(a.ID, b.ID) })
	owners := make([]uint8, buckets)
	var even []uint8
	for i, n := range nodes {
		if n.ID < 1 || n.ID > cluster.MaxNodes {
			return nil, &Error{n.ID, fmt.Sprintf("id not within 1-%d", cluster.MaxNodes)}
		}
		if i > 0 && n.ID == nodes[i-1].ID {
			return nil, &Error{n.ID, "id given twice"}
		}
		if n.Buckets == nil {
			even = append(even, uint8(n.ID))
		}
		for _, r := range n.Buckets {
			if err := claim(owners, n.ID, r); err != nil {
				return nil, err
			}
		}
	}
	return fill(owners, even)
}

// claim gives a node the buckets of a range.
func claim(owners []uint8, id int, r cluster.Range) error {
	if r.First < 0 || r.Last >= len(owners) || r.First > r.Last {
		return &Error{id, fmt.Sprintf("buckets %d-%d: not within 0-%d", r.First, r.Last, len(owners)-1)}
	}
	for b := r.First; b <= r.Last; b++ {
		if owners[b] != 0 {
			return &Error{id, fmt.Sprintf("bucket %d is listed already, by node %d", b, owners[b])}
		}
		owners[b] = uint8(id)
	}
	return nil
}

// fill gives the buckets without an owner to the nodes, in runs.
func fill(owners, nodes []uint8) ([]uint8, error) {
	var free []int
	for b, owner := range owners {
		if owner == 0 {
			free = append(free, b)
		}
	}
	if len(free) > 0 && len(nodes) == 0 {
		return nil, &Error{Reason: fmt.Sprintf(
			"bucket %d has no owner: every node lists its buckets, and none lists this one", free[0])}
	}
	for i, b := range free {
		owners[b] = nodes[i*len(nodes)/len(free)]
	}
	return owners, nil
}

// Count returns how many buckets each node owns, by id.
func Count(owners []uint8) map[int]int {
	count := map[int]int{}
	for _, id := range owners {
		count[int(id)]++
	}
	return count
}
