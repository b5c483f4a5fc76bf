package share

import (
	"cmp"
	"slices"

	"github.com/shoal-net/shoal/internal/cluster"
)

// Next returns the owner (a node's id, 0 for nobody) of each bucket after the
// ones in parent, given the weight of each node by its id. It depends on
// nothing else, and leaves parent as it is.
//
// A node's quota is buckets × its weight / the sum of all weights; weights[0]
// does not count. It gets its quota rounded down or up, so that nodes of one
// weight differ by at most one bucket. Of the tables that this allows, the one
// returned moves the fewest buckets. Those that move go to their takers in
// turn, so that the buckets of a node that is gone spread over all the others.
// Where all weights are 0 nobody owns anything.
func Next(parent []uint8, weights *[cluster.MaxNodes + 1]uint16) []uint8 {
	owners := make([]uint8, len(parent))
	var keep [256]int // buckets that stay, by owner, whatever parent holds
	for _, id := range parent {
		keep[id]++
	}
	nodes := apportion(&keep, weights, len(parent))
	if len(nodes) == 0 {
		return owners
	}
	have := keep
	clear(keep[:])
	takers := nodes[:0]
	for _, n := range nodes {
		keep[n.id] = min(n.target, have[n.id])
		if n.target > have[n.id] {
			takers = append(takers, n)
		}
	}
	turn := 0
	for b, id := range parent {
		if keep[id] > 0 {
			keep[id]--
			owners[b] = id
			continue
		}
		n := &takers[turn]
		owners[b] = n.id
		if have[n.id]++; have[n.id] == n.target {
			takers = slices.Delete(takers, turn, turn+1)
		} else {
			turn++
		}
		if turn == len(takers) {
			turn = 0
		}
	}
	return owners
}

// portion is what a node is to own.
type portion struct {
	id     uint8
	target int    // buckets
	rest   uint64 // of the quota, below target: the numerator over the sum of weights
}

// apportion returns, by ascending id, the nodes with a weight and their
// targets, which add up to the number of buckets.
func apportion(have *[256]int, weights *[cluster.MaxNodes + 1]uint16, buckets int) []portion {
	sum := uint64(0)
	for _, w := range weights[1:] {
		sum += uint64(w)
	}
	if sum == 0 {
		return nil
	}
	nodes := make([]portion, 0, cluster.MaxNodes)
	left := buckets
	for i, w := range weights[1:] {
		if w == 0 {
			continue
		}
		product := uint64(buckets) * uint64(w)
		n := portion{uint8(i + 1), int(product / sum), product % sum}
		left -= n.target
		nodes = append(nodes, n)
	}
	// One more for as many as it takes, all of whom have a rest: the rests add up
	// to left × sum, and each is less than sum. Whoever has more than its quota
	// rounded down comes first: each of those saves a move. Among equals, who has
	// more: so the buckets of a node that is gone spread within one.
	slices.SortFunc(nodes, func(a, b portion) int {
		hasA, hasB := have[a.id], have[b.id]
		return cmp.Or(
			first(a.rest > 0 && hasA > a.target, b.rest > 0 && hasB > b.target),
			cmp.Compare(b.rest, a.rest),
			cmp.Compare(hasB, hasA),
			cmp.Compare(a.id, b.id))
	})
	for i := range left {
		nodes[i].target++
	}
	slices.SortFunc(nodes, func(a, b portion) int { return cmp.Compare(a.id, b.id) })
	return nodes
}

// first orders what is true before what is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
