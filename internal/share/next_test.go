package share

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/shoal-net/shoal/internal/cluster"
)

type weights = [cluster.MaxNodes + 1]uint16

// weighing returns weights of the nodes 1, 2, …
func weighing(list ...uint16) *weights {
	var w weights
	copy(w[1:], list)
	return &w
}

func TestNext(t *testing.T) {
	for name, tt := range map[string]struct {
		parent  []uint8
		weights *weights
		want    []uint8
	}{
		"no bucket":                      {[]uint8{}, weighing(100), []uint8{}},
		"the first table is the match's": {[]uint8{0, 0, 0}, weighing(100, 100, 100), []uint8{1, 2, 3}},
		"nobody has a weight":            {[]uint8{1, 2, 0}, weighing(), []uint8{0, 0, 0}},
		"nothing to do":                  {[]uint8{2, 1, 1}, weighing(100, 100), []uint8{2, 1, 1}},
		"the larger share stays larger":  {[]uint8{2, 2, 1}, weighing(100, 100), []uint8{2, 2, 1}},
		"a node goes":                    {[]uint8{1, 2, 3, 3, 3, 3}, weighing(100, 100), []uint8{1, 2, 1, 2, 1, 2}},
		"a node comes":                   {[]uint8{1, 1, 1, 2, 2, 2}, weighing(100, 100, 100), []uint8{1, 1, 3, 2, 2, 3}},
		"an unknown id is nobody":        {[]uint8{255, 65, 1}, weighing(100, 100), []uint8{1, 2, 1}},
		"weights":                        {[]uint8{0, 0, 0, 0}, weighing(100, 300), []uint8{1, 2, 2, 2}},
		"the largest rest":               {[]uint8{0, 0}, weighing(100, 100, 101), []uint8{1, 3}},
		"too few buckets for all":        {[]uint8{3, 4}, weighing(100, 100, 100, 100), []uint8{3, 4}},
		"a weight next to nothing":       {[]uint8{1, 1, 1}, weighing(1, 1000), []uint8{1, 2, 2}},
		"no rest, no bucket more":        {[]uint8{1, 1, 1, 1}, weighing(200, 150, 50), []uint8{1, 1, 2, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			parent := slices.Clone(tt.parent)
			if diff := cmp.Diff(tt.want, Next(parent, tt.weights)); diff != "" {
				t.Error(diff)
			}
			if !slices.Equal(parent, tt.parent) {
				t.Errorf("the parent was changed: %v", parent)
			}
		})
	}
}

func TestNextIgnoresTheWeightOfNobody(t *testing.T) {
	w := weighing(100, 300)
	w[0] = 500
	if got := Next(make([]uint8, 4), w); !slices.Equal(got, []uint8{1, 2, 2, 2}) {
		t.Errorf("got %v", got)
	}
}

// drawWeights draws weights of nodes 1..nodes, not all 0.
func drawWeights(t *rapid.T, nodes int) *weights {
	weight := rapid.SampledFrom([]uint16{0, 1, 50, 100, 100, 100, 333, 1000})
	if rapid.Bool().Draw(t, "equal") {
		weight = rapid.SampledFrom([]uint16{0, 100})
	}
	w := weighing(rapid.SliceOfN(weight, nodes, nodes).Draw(t, "weights")...)
	if *w == (weights{}) {
		w[rapid.IntRange(1, nodes).Draw(t, "only")] = 100
	}
	return w
}

func drawParent(t *rapid.T, nodes, most int) []uint8 {
	return rapid.SliceOfN(rapid.Uint8Range(0, uint8(nodes)), 1, most).Draw(t, "parent")
}

func TestNextProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.IntRange(1, cluster.MaxNodes).Draw(t, "nodes")
		parent, w := drawParent(t, nodes, 2000), drawWeights(t, nodes)
		owners := Next(parent, w)
		if !exact(owners, w) {
			t.Fatalf("not by quota: %v", Count(owners))
		}
		if got, want := moved(parent, owners), fewest(parent, w); got != want {
			t.Errorf("%d buckets move, %d would do", got, want)
		}
		if again := Next(owners, w); !slices.Equal(owners, again) {
			t.Errorf("%d buckets move a second time", moved(owners, again))
		}
	})
}

// TestNextAgainstAll tries all the tables that there are.
func TestNextAgainstAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.IntRange(1, 4).Draw(t, "nodes")
		parent, w := drawParent(t, nodes, 6), drawWeights(t, nodes)
		least := len(parent) + 1
		table := make([]uint8, len(parent))
		for more := true; more; more = increment(table, nodes) {
			if exact(table, w) {
				least = min(least, moved(parent, table))
			}
		}
		owners := Next(parent, w)
		if got := moved(parent, owners); got != least || !exact(owners, w) {
			t.Errorf("%v: %d buckets move, %d would do", owners, got, least)
		}
		if got := fewest(parent, w); got != least {
			t.Errorf("the twin says %d, %d would do", got, least)
		}
	})
}

// TestNextAfterFailures lets nodes of equal weight fail one by one. At first, any
// of them may be the ones that own a bucket more.
func TestNextAfterFailures(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w weights
		ids := drawIDs(t)
		for _, id := range ids {
			w[id] = 100
		}
		buckets := rapid.IntRange(1, 5000).Draw(t, "buckets")
		owners := make([]uint8, buckets)
		for b := range owners {
			owners[b] = uint8(ids[b%len(ids)])
		}
		ids = rapid.Permutation(ids).Draw(t, "failing")
		for len(ids) > 1 {
			failed := ids[0]
			ids, w[failed] = ids[1:], 0
			next := Next(owners, &w)
			took := map[int]int{}
			for b, was := range owners {
				switch {
				case int(was) == failed:
					took[int(next[b])]++
				case next[b] != was:
					t.Fatalf("bucket %d of node %d moved to %d without need", b, was, next[b])
				}
			}
			checkEven(t, took, ids)
			checkEven(t, Count(next), ids)
			owners = next
		}
	})
}

// TestNextSpreads checks that the buckets of a node that is gone are not handed
// on in one run.
func TestNextSpreads(t *testing.T) {
	owners := Next(make([]uint8, 1024), weighing(100, 100, 100, 100))
	next := Next(owners, weighing(100, 100, 100))
	last := uint8(0)
	for b, was := range owners {
		if was != 4 || b > 1000 {
			continue
		}
		if next[b] == last {
			t.Errorf("bucket %d goes to node %d as the one before does", b, last)
		}
		last = next[b]
	}
}

// increment counts on in tables of the nodes 1..nodes; 0 stands in the first
// one only. It reports whether there was one more.
func increment(table []uint8, nodes int) bool {
	for b := range table {
		if table[b] == 0 {
			for i := range table {
				table[i] = 1
			}
			return true
		}
		if table[b]++; int(table[b]) <= nodes {
			return true
		}
		table[b] = 1
	}
	return false
}

// exact reports whether every bucket has an owner and every node its quota,
// rounded down or up.
func exact(owners []uint8, w *weights) bool {
	sum := 0
	for _, weight := range w {
		sum += int(weight)
	}
	count := Count(owners)
	for id, weight := range w {
		quota := len(owners) * int(weight) // × sum
		if c := count[id] * sum; c <= quota-sum || c >= quota+sum {
			return false
		}
	}
	return true
}

func moved(from, to []uint8) (n int) {
	for b := range from {
		if from[b] != to[b] {
			n++
		}
	}
	return n
}

// fewest is how many buckets must move: all but the most that can stay, tried
// for every way to round the quotas.
func fewest(parent []uint8, w *weights) int {
	sum := 0
	for _, weight := range w {
		sum += int(weight)
	}
	have := Count(parent)
	stay := map[int]int{0: 0} // the most buckets that stay, by how many are given out
	for id, weight := range w {
		next := map[int]int{}
		for given, most := range stay {
			low, high := len(parent)*int(weight)/sum, (len(parent)*int(weight)+sum-1)/sum
			for target := low; target <= high; target++ {
				kept := min(target, have[id])
				if id == 0 {
					kept = 0
				}
				next[given+target] = max(next[given+target], most+kept)
			}
		}
		stay = next
	}
	return len(parent) - stay[len(parent)]
}

func BenchmarkNext(b *testing.B) {
	var all weights
	for id := 1; id <= cluster.MaxNodes; id++ {
		all[id] = 100
	}
	without := all
	without[17] = 0
	for _, tt := range []struct {
		name     string
		from, to *weights
	}{
		{"nothing", &all, &all},
		{"failure", &all, &without},
		{"join", &without, &all},
		{"first", nil, &all},
	} {
		b.Run(fmt.Sprintf("65536x64/%s", tt.name), func(b *testing.B) {
			parent := make([]uint8, cluster.MaxBuckets)
			if tt.from != nil {
				parent = Next(parent, tt.from)
			}
			b.ReportAllocs()
			for b.Loop() {
				Next(parent, tt.to)
			}
		})
	}
}
