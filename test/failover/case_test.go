package failover

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/lab"
)

func find(t *testing.T, nodes int, name string) Case {
	t.Helper()
	all := Cases(cluster.Gateway, nodes)
	i := slices.IndexFunc(all, func(c Case) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no case %s", name)
	}
	return all[i]
}

func TestStrike(t *testing.T) {
	for _, test := range []struct {
		name                     string
		nodes, turn, one, leader int
		want                     lab.Fault
		struck                   []int
	}{
		{"unplug", 3, 1, 2, 3, lab.Fault{Kind: lab.Unplug, Nodes: []int{2}}, []int{2}},
		{"mute-server", 3, 0, 1, 3, lab.Fault{Kind: lab.Mute, Nodes: []int{1}, Sides: lab.ServerSide}, []int{1}},
		{"two-off", 5, 0, 1, 5, lab.Fault{Kind: lab.PowerOff, Nodes: []int{5, 1}}, []int{5, 1}},
		{"two-off", 5, 3, 4, 5, lab.Fault{Kind: lab.PowerOff, Nodes: []int{5, 4}}, []int{5, 4}},
		{"partition", 3, 0, 3, 1, lab.Fault{Kind: lab.Partition, Groups: [][]int{{1, 2}, {3}}}, []int{3}},
		{"partition", 5, 0, 5, 1, lab.Fault{Kind: lab.Partition, Groups: [][]int{{2, 3, 4}, {5, 1}}}, []int{5, 1}},
		{"partition", 2, 0, 1, 1, lab.Fault{Kind: lab.Partition, Groups: [][]int{{2}, {1}}}, []int{1}},
		{"restart-all", 2, 0, 1, 1, lab.Fault{Kind: lab.RestartAll}, []int{1, 2}},
		{"loss-5", 3, 0, 1, 1, lab.Fault{Kind: lab.Loss, Percent: 5}, nil},
	} {
		f, struck := find(t, test.nodes, test.name).strike(test.nodes, test.turn, test.one, test.leader)
		if diff := cmp.Diff(test.want, f) + cmp.Diff(test.struck, struck); diff != "" {
			t.Errorf("%s of %d nodes, turn %d: %s", test.name, test.nodes, test.turn, diff)
		}
	}
}

// Every fault that is injected must be one that a lab can have.
func TestStrikesArePossible(t *testing.T) {
	for _, nodes := range []int{2, 3, 5} {
		for _, mode := range []cluster.Mode{cluster.Backend, cluster.Gateway} {
			for _, c := range Cases(mode, nodes) {
				for turn := range 7 {
					f, struck := c.strike(nodes, turn, turn%nodes+1, (turn/2)%nodes+1)
					if err := (lab.Options{Nodes: nodes, Mode: mode}).CheckFault(f); err != nil {
						t.Errorf("%s, %d nodes, turn %d: %v", c.Name, nodes, turn, err)
					}
					if len(struck) == nodes && c.who != everybody {
						t.Errorf("%s, %d nodes, turn %d strikes all of them", c.Name, nodes, turn)
					}
				}
			}
		}
	}
}

// At 5 % each echo is lost with 9.75 %, so eight in a row once in 10⁸ times.
func TestPatience(t *testing.T) {
	for name, want := range map[string]int{"unplug": 0, "loss-1": 5, "loss-5": 8, "loss-30": 28} {
		if got := find(t, 3, name).patient(); got != want {
			t.Errorf("%s: %d echoes, want %d", name, got, want)
		}
	}
}
