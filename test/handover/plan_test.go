package handover

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
)

// followed is how the nodes are at a moment of a plan, by id.
type followed struct{ drained, idle, away map[int]bool }

// takes says which nodes take new connections.
func (f followed) takes() (ids []int) {
	for id := 1; id <= 3; id++ {
		if !f.drained[id] && !f.idle[id] && !f.away[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// step takes a step, and says what is wrong with it.
func (f followed) step(s Step) error {
	before := f.takes()
	for _, id := range s.Back {
		if !f.away[id] {
			return fmt.Errorf("node %d is not away", id)
		}
		delete(f.away, id)
	}
	var nodes []int
	for _, c := range s.Changes {
		if slices.Contains(nodes, c.Node) || f.away[c.Node] {
			return fmt.Errorf("node %d is away or changed already", c.Node)
		}
		nodes = append(nodes, c.Node)
		if err := f.change(c); err != nil {
			return err
		}
	}
	for _, c := range s.Changes {
		if f.away[c.On] {
			return fmt.Errorf("node %d is away", c.On)
		}
	}
	after := f.takes()
	if !slices.ContainsFunc(before, func(id int) bool { return slices.Contains(after, id) }) {
		return errors.New("nobody takes new connections for a moment")
	}
	return nil
}

func (f followed) change(c Change) error {
	switch c.Kind {
	case Drain, Undrain:
		if f.drained[c.Node] == (c.Kind == Drain) {
			return fmt.Errorf("%v changes nothing", c)
		}
		f.drained[c.Node] = c.Kind == Drain
	case Weigh:
		f.idle[c.Node] = c.Weight == 0
	case Return:
		f.drained[c.Node], f.away[c.Node] = false, true
	}
	return nil
}

// At every moment of a plan some node takes new connections, whichever of the
// changes of a step come first, nobody asks a node that is away, and everything
// comes up.
func TestPlan(t *testing.T) {
	var seen [kinds]int
	overlapping := 0
	for seed := range uint64(200) {
		steps := Plan(seed, 3, 50)
		if !reflect.DeepEqual(steps, Plan(seed, 3, 50)) {
			t.Fatalf("seed %d: two plans", seed)
		}
		nodes := followed{map[int]bool{}, map[int]bool{}, map[int]bool{}}
		total := 0
		for _, s := range steps {
			if err := nodes.step(s); err != nil {
				t.Fatalf("seed %d: %v: %v", seed, s, err)
			}
			for _, c := range s.Changes {
				seen[c.Kind]++
				total++
			}
			if len(s.Changes) > 1 || len(nodes.away) > 0 {
				overlapping++
			}
		}
		if total != 50 {
			t.Fatalf("seed %d: %d changes", seed, total)
		}
	}
	if slices.Contains(seen[:], 0) || overlapping == 0 {
		t.Errorf("changes by kind: %v; %d overlap", seen, overlapping)
	}
}
