package member

import (
	"fmt"
	"strings"
)

const completes = "completes view"

// change is what a wish adds up.
type change struct {
	*ViewHeader
	done   bool // something differs from the parent
	reason []byte
}

func (c *change) because(format string, args ...any) {
	c.done = true
	if len(c.reason) > 0 {
		c.reason = append(c.reason, ", "...)
	}
	c.reason = fmt.Appendf(c.reason, format, args...)
}

// wish returns what the view should be, or nil where the parent is that
// already. nil stands for the view before the first. What it returns is valid
// until the next call.
func (m *Member) wish(parent *View) *ViewHeader {
	c := change{ViewHeader: &m.draft}
	if parent == nil {
		m.draft = ViewHeader{Voters: m.cfg.Listed, OldVoters: m.cfg.Listed}
	} else {
		m.draft = parent.ViewHeader
		c.Parent, c.Alone = parent.ID(), false
		m.wishDone(&c, parent)
		if parent != m.active && (parent != m.wanted.accepted || m.acceptedFor(parent) > 2*m.cfg.Interval) {
			if strings.HasPrefix(parent.Reason, completes) {
				c.because("%s", parent.Reason)
			} else {
				c.because(completes+" %v: %s", parent.Epoch, parent.Reason)
			}
		}
	}
	m.wishLater(&c, parent)
	m.wishOrders(&c)
	m.wishMembers(&c, parent)
	m.wishWeights(&c)
	m.wishVoters(&c, parent)
	if !c.done {
		return nil
	}
	if parent == nil || c.Alone {
		c.Lineage = uint64(m.incarnation) ^ uint64(m.acceptedEpoch())
	}
	if len(c.reason) > MaxReason {
		c.reason = append(c.reason[:MaxReason-3], "..."...)
	}
	c.Reason = string(c.reason)
	return c.ViewHeader
}

// wishLater moves on to an epoch above one of another lineage that a node comes
// back with, which it would not leave for an earlier one (clause A5).
func (m *Member) wishLater(c *change, parent *View) {
	for _, n := range m.live {
		a := m.peers[n].hb.Accepted
		if parent == nil || parent != m.active || !m.present(n) || a.Epoch <= parent.Epoch || m.peers[n].hb.Active == a {
			continue
		}
		if v := m.find(a); v != nil && v.Lineage != parent.Lineage {
			c.because("%s comes back from a later view", m.name(n))
			return
		}
	}
}

// acceptedFor is how long a view has been accepted here without being chosen.
func (m *Member) acceptedFor(v *View) Time {
	if m.acceptedAt.view != v {
		m.acceptedAt.view, m.acceptedAt.at = v, m.now
	}
	return m.now - m.acceptedAt.at
}

// wishDone names the old owners that have nothing left of what they gave up:
// they act on the view and have no flows, or flows are not kept.
func (m *Member) wishDone(c *change, parent *View) {
	c.Done = 0
	if m.followed != parent {
		return
	}
	for left := parent.leavers & m.acts; left != 0; left &= left - 1 {
		n := left.first()
		if !m.cfg.Keep {
			c.Done = c.Done.With(n)
		} else if m.drained(n, parent) {
			c.Done = c.Done.With(n)
			c.because("%s has no flows left of what it gave up", m.name(n))
		}
	}
}

func (m *Member) wishMembers(c *change, parent *View) {
	known := m.cfg.Listed | m.heardSet()
	if parent != nil {
		known |= m.everIn(parent)
	}
	unlisted := m.unlisted(c.Voters)
	for left := known; left != 0; left &= left - 1 {
		n := left.first()
		e := &c.Members[n-1]
		switch {
		case e.Live() && m.gone(n, e.Incarnation):
			m.wishWithout(c, n, e, unlisted.Has(n))
		case e.Live() && n != m.cfg.Self && m.accused(n, c.Voters) && m.accused(n, c.OldVoters):
			e.State = Lost
			c.because("%s is silent", m.name(n))
		case e.Live():
			m.wishState(c, n, e, unlisted.Has(n))
		case !unlisted.Has(n) && m.incarnationOf(n) != e.Incarnation && m.joins(n, c.Voters): // never one that was put out
			*e = m.entry(n, *e)
			c.because("%s joins", m.name(n))
		}
	}
}

// wishWithout puts a node out that has said so, or in with its new
// incarnation if that is ready: then it keeps its buckets.
func (m *Member) wishWithout(c *change, n NodeID, e *Entry, unlisted bool) {
	next := m.incarnationOf(n)
	switch {
	case next != e.Incarnation && !unlisted && m.joins(n, c.Voters):
		*e = m.entry(n, *e)
		c.because("%s is back", m.name(n))
	case next != e.Incarnation && m.stateOf(n) == Joining && n != m.cfg.Self && m.peers[n].hb.Fit && m.now-m.peers[n].since < 2*m.cfg.Interval:
		// It is about to be ready: taking its buckets away would move them twice.
	default:
		e.State = Fenced
		c.because("%s gave up its buckets", m.name(n))
	}
}

// wishState follows what a live node says of itself.
func (m *Member) wishState(c *change, n NodeID, e *Entry, unlisted bool) {
	unlisted = unlisted && m.othersServe(c, n)
	if (m.stateOf(n) == Leaving || unlisted) && e.State != Leaving {
		e.State = Leaving
		if unlisted {
			c.because("%s is in the files no more", m.name(n))
		} else {
			c.because("%s leaves", m.name(n))
		}
	}
}

// othersServe reports whether anybody else can take buckets over.
func (m *Member) othersServe(c *change, n NodeID) bool {
	for i, e := range c.Members {
		if o := NodeID(i + 1); o != n && (o == m.cfg.Self || m.present(o)) && e.State == Serving && e.Weight > 0 {
			return true
		}
	}
	return false
}

// accused reports whether a majority of voters has heard nothing of n for
// longer than any lease.
func (m *Member) accused(n NodeID, voters Set) bool {
	if !m.silent(n) {
		return false
	}
	by := Set(0).With(m.cfg.Self)
	for _, o := range m.live {
		if m.present(o) && m.peers[o].hb.Suspects.Has(n) {
			by = by.With(o)
		}
	}
	return by.majority(voters)
}

// joins reports whether a node is ready to be put into a view: it wants to,
// and hears a majority of the voters that hear it.
func (m *Member) joins(n NodeID, voters Set) bool {
	if m.stateOf(n) != Joining {
		return false
	}
	both := Set(0)
	if voters.Has(n) {
		both = both.With(n)
	}
	self := m.cfg.Self
	if n == self {
		if !m.fit() || m.sole() && (!m.warned() || m.rivalled()) {
			return false
		}
		for _, o := range m.live {
			if e := &m.peers[o].hb.Echoes[self-1]; m.present(o) && e.Incarnation == m.incarnation && e.Heard != 0 {
				both = both.With(o)
			}
		}
		return both.majority(voters) || voters == both
	}
	// One that died since it said so would have buckets until it is voted out.
	p := &m.peers[n]
	if m.beginsAlone() || !m.present(n) || !p.hb.Fit || p.mismatch || m.now-p.arrived > 3*m.cfg.Interval/2 {
		return false
	}
	if p.hb.Echoes[self-1].Heard != 0 {
		both = both.With(self)
	}
	for _, o := range m.live {
		q := &m.peers[o]
		if e := &q.hb.Echoes[n-1]; o != n && m.present(o) && e.Incarnation == p.incarnation && e.Heard != 0 && p.hb.Echoes[o-1].Heard != 0 {
			both = both.With(o)
		}
	}
	return both.majority(voters)
}

func (m *Member) incarnationOf(n NodeID) Incarnation {
	if n == m.cfg.Self {
		return m.incarnation
	}
	return m.peers[n].incarnation
}

func (m *Member) stateOf(n NodeID) State {
	if n == m.cfg.Self {
		return m.state
	}
	return m.peers[n].hb.State
}
