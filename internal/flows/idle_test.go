package flows

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIdle(t *testing.T) {
	type round struct {
		counts   []int
		draining []int
		want     []int
	}
	for _, tt := range []struct {
		name   string
		rounds []round
	}{
		{"three counts in a row", []round{
			{[]int{0, 0}, []int{0, 1}, nil},
			{[]int{0, 0}, []int{0, 1}, nil},
			{[]int{0, 0}, []int{0, 1}, []int{0, 1}},
			{[]int{0, 0}, []int{0, 1}, []int{0, 1}},
		}},
		{"counts from before it was given away", []round{
			{[]int{0, 0}, nil, nil},
			{[]int{0, 0}, nil, nil},
			{[]int{0, 0}, nil, nil},
			{[]int{0, 0}, []int{0}, nil},
			{[]int{0, 0}, []int{0}, nil},
			{[]int{0, 0}, []int{0}, []int{0}},
		}},
		{"a flow in between", []round{
			{[]int{0, 9}, []int{0, 1}, nil},
			{[]int{0, 0}, []int{0, 1}, nil},
			{[]int{1, 0}, []int{0, 1}, nil},
			{[]int{0, 0}, []int{0, 1}, []int{1}},
			{[]int{0, 0}, []int{0, 1}, []int{1}},
			{[]int{0, 0}, []int{0, 1}, []int{0, 1}},
		}},
		{"taken back and given away again", []round{
			{[]int{0}, []int{0}, nil},
			{[]int{0}, []int{0}, nil},
			{[]int{0}, nil, nil},
			{[]int{0}, []int{0}, nil},
			{[]int{0}, []int{0}, nil},
			{[]int{0}, []int{0}, []int{0}},
		}},
	} {
		var idle Idle
		for i, r := range tt.rounds {
			given := map[int]bool{}
			for _, b := range r.draining {
				given[b] = true
			}
			got := idle.Note(r.counts, func(b int) bool { return given[b] })
			if diff := cmp.Diff(r.want, got); diff != "" {
				t.Errorf("%s, count %d: empty (-want +got)\n%s", tt.name, i+1, diff)
			}
		}
	}
}
