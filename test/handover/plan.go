package handover

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
)

// Kind is what is done to a node.
type Kind uint8

// The kinds of changes.
const (
	Drain   Kind = iota // it is to take no new connections, and keeps those that it has
	Undrain             // it takes its share again: what joins goes the same way
	Weigh               // it gets another weight
	Return              // it is drained until it has no connections, stopped, started and undrained
	kinds
)

var kindWords = [kinds]string{"drain", "undrain", "weight", "return"}

func (k Kind) String() string { return kindWords[k] }

// A Change is something that is done to a node.
type Change struct {
	Kind
	Node   int
	Weight int // of Weigh
	On     int // the node on which it is asked for
}

func (c Change) String() string {
	word := fmt.Sprintf("%s %d", c.Kind, c.Node)
	if c.Kind == Weigh {
		word += fmt.Sprintf(" %d", c.Weight)
	}
	return fmt.Sprintf("%s (on %d)", word, c.On)
}

// A Step is changes of several nodes at the same time.
type Step struct {
	Pause   time.Duration // before it
	Back    []int         // nodes whose return is waited for before it
	Changes []Change
}

func (s Step) String() string {
	var words []string
	for _, id := range s.Back {
		words = append(words, fmt.Sprintf("await %d", id))
	}
	for _, c := range s.Changes {
		words = append(words, c.String())
	}
	return strings.Join(words, " + ")
}

// How a plan is drawn.
const (
	longestPause = 2 * time.Second
	longestAway  = 4 // steps during which a node that is to return is away
)

var weights = []int{0, 10, 50, 100, 200, cluster.MaxWeight}

// planner knows how the nodes are at a moment of a plan, by id.
type planner struct {
	*rand.Rand
	drained []bool
	weight  []int
	away    []int // steps for which the node is still away; 0: it is there
}

// Plan draws a number of changes of a cluster in which all nodes serve. One
// seed has one plan. At least one node takes new connections at any moment,
// whichever of the changes of a step come first.
func Plan(seed uint64, nodes, changes int) (steps []Step) {
	p := &planner{rand.New(rand.NewPCG(seed, 0)), make([]bool, nodes+1), make([]int, nodes+1), make([]int, nodes+1)}
	for id := range p.weight {
		p.weight[id] = cluster.DefaultWeight
	}
	for changes > 0 {
		s := p.step(min(changes, 1+p.IntN(nodes)*p.IntN(2)))
		changes -= len(s.Changes)
		steps = append(steps, s)
	}
	return steps
}

// step draws up to so many changes, at least one.
func (p *planner) step(most int) Step {
	s := Step{Pause: time.Duration(p.Int64N(int64(longestPause)))}
	serving := p.serving()
	s.Back = p.back()
	for _, id := range p.Perm(len(p.away)) {
		if id == 0 || p.away[id] > 0 || slices.Contains(s.Back, id) || len(s.Changes) == most {
			continue
		}
		others := slices.DeleteFunc(slices.Clone(serving), func(n int) bool { return n == id })
		c := p.change(id, len(others) > 0)
		if c.Kind == Drain || c.Kind == Return || c.Kind == Weigh && c.Weight == 0 {
			serving = others
		}
		s.Changes = append(s.Changes, c)
	}
	for i := range s.Changes {
		s.Changes[i].On = p.anyPresent()
	}
	return s
}

// back lets a step go by, and names the nodes that are to be back at its end.
func (p *planner) back() (all []int) {
	for id := range p.away {
		if p.away[id] > 0 {
			if p.away[id]--; p.away[id] == 0 {
				all = append(all, id)
			}
		}
	}
	return all
}

// serving are the nodes that take new connections, those that are away or have
// just come back not among them.
func (p *planner) serving() (all []int) {
	for id := 1; id < len(p.away); id++ {
		if !p.drained[id] && p.weight[id] > 0 && p.away[id] == 0 {
			all = append(all, id)
		}
	}
	return all
}

// anyPresent is a node that is there to be asked.
func (p *planner) anyPresent() int {
	for {
		if id := 1 + p.IntN(len(p.away)-1); p.away[id] == 0 {
			return id
		}
	}
}

// change draws a change of a node, which may take no part only where others do.
func (p *planner) change(id int, others bool) Change {
	for {
		c := Change{Kind: Kind(p.IntN(int(kinds))), Node: id}
		switch c.Kind {
		case Drain:
			if p.drained[id] || !others {
				continue
			}
			p.drained[id] = true
		case Undrain:
			if !p.drained[id] {
				continue
			}
			p.drained[id] = false
		case Weigh:
			c.Weight = weights[p.IntN(len(weights))]
			if c.Weight == p.weight[id] || c.Weight == 0 && !others {
				continue
			}
			p.weight[id] = c.Weight
		case Return:
			if !others || slices.Max(p.away) > 0 {
				continue
			}
			p.drained[id], p.away[id] = false, 1+p.IntN(longestAway)
		}
		return c
	}
}

// WithoutReturns is a plan without what has to know which clients a node has:
// who would return is only undrained.
func WithoutReturns(plan []Step) (rest []Step) {
	for _, s := range plan {
		s.Back, s.Changes = nil, slices.Clone(s.Changes)
		for i, c := range s.Changes {
			if c.Kind == Return {
				s.Changes[i].Kind = Undrain
			}
		}
		rest = append(rest, s)
	}
	return rest
}
