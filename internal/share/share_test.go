package share

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/shoal-net/shoal/internal/cluster"
)

func span(first, last int) cluster.Range { return cluster.Range{First: first, Last: last} }

func TestStatic(t *testing.T) {
	type nodes = []cluster.Node
	type ranges = []cluster.Range
	for name, tt := range map[string]struct {
		nodes   nodes
		buckets int
		want    []uint8
	}{
		"one node":                    {nodes{{ID: 7}}, 3, []uint8{7, 7, 7}},
		"the kernel's table":          {nodes{{ID: 1}, {ID: 2}, {ID: 3}}, 3, []uint8{1, 2, 3}},
		"in order of ids":             {nodes{{ID: 3}, {ID: 1}, {ID: 2}}, 3, []uint8{1, 2, 3}},
		"runs":                        {nodes{{ID: 1}, {ID: 2}}, 5, []uint8{1, 1, 1, 2, 2}},
		"fewer buckets than nodes":    {nodes{{ID: 1}, {ID: 2}, {ID: 3}}, 2, []uint8{1, 2}},
		"lists only":                  {nodes{{ID: 1, Buckets: ranges{span(1, 2)}}, {ID: 2, Buckets: ranges{span(0, 0), span(3, 3)}}}, 4, []uint8{2, 1, 1, 2}},
		"lists, the rest evenly":      {nodes{{ID: 1}, {ID: 2, Buckets: ranges{span(1, 1)}}, {ID: 3}}, 5, []uint8{1, 2, 1, 3, 3}},
		"an empty list has no bucket": {nodes{{ID: 1, Buckets: ranges{}}, {ID: 2}}, 2, []uint8{2, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Static(tt.nodes, tt.buckets)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStaticRefuses(t *testing.T) {
	type nodes = []cluster.Node
	type ranges = []cluster.Range
	for _, tt := range []struct {
		nodes   nodes
		buckets int
		want    Error
	}{
		{nodes{{ID: 1}}, 0, Error{0, "0 buckets: not within 1-65536"}},
		{nodes{{ID: 1}}, -1, Error{0, "-1 buckets: not within 1-65536"}},
		{nodes{{ID: 1}}, 65537, Error{0, "65537 buckets: not within 1-65536"}},
		{nodes{}, 2, Error{0, "bucket 0 has no owner: every node lists its buckets, and none lists this one"}},
		{nodes{{ID: 0}}, 2, Error{0, "id not within 1-64"}},
		{nodes{{ID: 65}}, 2, Error{65, "id not within 1-64"}},
		{nodes{{ID: 2}, {ID: 1}, {ID: 2}}, 2, Error{2, "id given twice"}},
		{nodes{{ID: 1, Buckets: ranges{span(-1, 1)}}}, 2, Error{1, "buckets -1-1: not within 0-1"}},
		{nodes{{ID: 1, Buckets: ranges{span(0, 2)}}}, 2, Error{1, "buckets 0-2: not within 0-1"}},
		{nodes{{ID: 1, Buckets: ranges{span(1, 0)}}}, 2, Error{1, "buckets 1-0: not within 0-1"}},
		{nodes{{ID: 2, Buckets: ranges{span(0, 1)}}, {ID: 1, Buckets: ranges{span(1, 1)}}}, 2, Error{2, "bucket 1 is listed already, by node 1"}},
		{nodes{{ID: 1, Buckets: ranges{span(0, 1), span(0, 0)}}}, 2, Error{1, "bucket 0 is listed already, by node 1"}},
		{nodes{{ID: 1, Buckets: ranges{span(0, 0), span(2, 2)}}}, 3, Error{0, "bucket 1 has no owner: every node lists its buckets, and none lists this one"}},
	} {
		owners, err := Static(tt.nodes, tt.buckets)
		var got *Error
		if !errors.As(err, &got) || *got != tt.want || owners != nil {
			t.Errorf("%v, %d: got %v, %v, want %v", tt.nodes, tt.buckets, owners, err, &tt.want)
		}
	}
}

// drawIDs draws distinct ids of nodes, in any order.
func drawIDs(t *rapid.T) []int {
	return rapid.SliceOfNDistinct(rapid.IntRange(1, cluster.MaxNodes), 1, cluster.MaxNodes, rapid.ID[int]).Draw(t, "ids")
}

func TestStaticEvenly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := drawIDs(t)
		buckets := rapid.IntRange(1, cluster.MaxBuckets).Draw(t, "buckets")
		nodes := make([]cluster.Node, len(ids))
		for i, id := range ids {
			nodes[i].ID = id
		}
		owners, err := Static(nodes, buckets)
		if err != nil || len(owners) != buckets {
			t.Fatalf("%d owners, %v", len(owners), err)
		}
		if !slices.IsSorted(owners) {
			t.Error("not in runs in order of ids")
		}
		checkEven(t, Count(owners), ids)

		slices.Reverse(nodes)
		again, err := Static(nodes, buckets)
		if err != nil || !slices.Equal(owners, again) {
			t.Errorf("the order of nodes makes a difference (%v)", err)
		}
	})
}

func TestStaticIsTheMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := drawIDs(t)
		nodes := make([]cluster.Node, len(ids))
		want := make([]uint8, len(ids))
		for i, id := range ids {
			nodes[i].ID, want[i] = id, uint8(id)
		}
		slices.Sort(want)
		got, err := Static(nodes, len(nodes))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	})
}

// TestStaticObeysLists draws who owns each bucket, or that nobody lists it,
// describes that in lists, and compares.
func TestStaticObeysLists(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := drawIDs(t)
		listing := rapid.IntRange(0, len(ids)).Draw(t, "listing")
		listed := rapid.SliceOfN(rapid.SampledFrom(append([]int{0}, ids[:listing]...)), 1, 200).Draw(t, "listed")
		nodes := make([]cluster.Node, len(ids))
		for i, id := range ids {
			nodes[i].ID = id
			if i < listing {
				nodes[i].Buckets = rangesOf(listed, id)
			}
		}
		owners, err := Static(nodes, len(listed))
		if listing == len(ids) && slices.Contains(listed, 0) {
			if err == nil {
				t.Fatalf("got %v, want an error: nobody lists bucket %d", owners, slices.Index(listed, 0))
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		rest := map[int]int{}
		for b, id := range listed {
			switch owner := int(owners[b]); {
			case id != 0 && owner != id:
				t.Errorf("bucket %d: node %d lists it, node %d owns it", b, id, owner)
			case id == 0:
				rest[owner]++
			}
		}
		if listing < len(ids) {
			checkEven(t, rest, ids[listing:])
		}
	})
}

// rangesOf returns the runs of id, never nil.
func rangesOf(listed []int, id int) []cluster.Range {
	runs := []cluster.Range{}
	for b, owner := range listed {
		switch n := len(runs); {
		case owner != id:
		case n > 0 && runs[n-1].Last == b-1:
			runs[n-1].Last = b
		default:
			runs = append(runs, cluster.Range{First: b, Last: b})
		}
	}
	return runs
}

// checkEven checks that the nodes with the given ids, and no others, have
// buckets, and that their numbers differ by at most one.
func checkEven(t *rapid.T, count map[int]int, ids []int) {
	least, most, sum := cluster.MaxBuckets, 0, 0
	for _, id := range ids {
		least, most, sum = min(least, count[id]), max(most, count[id]), sum+count[id]
	}
	if most-least > 1 {
		t.Errorf("shares of %v differ by more than one: %v", ids, count)
	}
	for _, n := range count {
		sum -= n
	}
	if sum != 0 {
		t.Errorf("others than %v have a share: %v", ids, count)
	}
}
