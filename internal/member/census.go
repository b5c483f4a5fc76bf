package member

import "iter"

// census remembers what is asked for many times in an event.
type census struct {
	view    *View
	lives   Set  // in that view …
	ever    Set  // … or once were
	counted bool // heard is as of now
	heard   Set
}

// livesIn is the set of a view's live nodes.
func (m *Member) livesIn(v *View) Set { return m.survey(v).lives }

// everIn is the set of nodes that live in a view or an earlier one.
func (m *Member) everIn(v *View) Set { return m.survey(v).ever }

func (m *Member) survey(v *View) *census {
	c := &m.census
	if c.view != v {
		c.view, c.lives, c.ever = v, v.live(), 0
		for i, e := range v.Members {
			if e.Incarnation != 0 {
				c.ever = c.ever.With(NodeID(i + 1))
			}
		}
	}
	return c
}

// heardSet is the set of other nodes that may be counted on now.
func (m *Member) heardSet() (s Set) {
	if m.census.counted {
		return m.census.heard
	}
	for _, n := range m.live {
		if m.present(n) {
			s = s.With(n)
		}
	}
	m.census.counted, m.census.heard = true, s
	return s
}

// met yields all nodes of which anything was heard, proved or not.
func (m *Member) met() iter.Seq[NodeID] {
	return func(yield func(NodeID) bool) {
		for _, n := range m.live {
			if !yield(n) {
				return
			}
		}
		for _, n := range m.strangers {
			if !yield(n) {
				return
			}
		}
	}
}
