package member

import (
	"fmt"
	"strings"
)

// propose changes the view where it is not what it should be (clause V5).
func (m *Member) propose() {
	if !m.voting() {
		return
	}
	m.probe()
	if !m.voters().Has(m.cfg.Self) && !m.alone() {
		return
	}
	parent, by := m.wanted.accepted, m.promisers()
	if by != 0 {
		var known bool
		if parent, known = m.newest(by); !known {
			return // its header is on the way
		}
	}
	next := m.wish(parent)
	if next == nil && !m.behind() {
		m.desired, m.retry = 0, m.cfg.Interval/4
		m.prepareEarly()
		return
	}
	if m.desired == 0 {
		m.desired = m.now
	}
	switch {
	case !m.turn():
	case next != nil && enough(by, parent, next):
		m.publish(next)
	default:
		m.prepare()
	}
}

// publish proposes a view: this node is the first to accept it.
func (m *Member) publish(next *ViewHeader) {
	next.Epoch = m.durable.promised
	v := m.build(next)
	if !m.acceptable(v) {
		return
	}
	m.spent = next.Epoch
	m.desired = 0
	m.remember(v)
	m.accept(v)
	m.push(v)
}

// promisers returns who has promised the ballot that this node holds, itself
// included; none where it holds none.
func (m *Member) promisers() Set {
	ballot := m.durable.promised
	if ballot.Proposer() != m.cfg.Self || ballot <= m.spent || ballot != m.wanted.promised || m.durable.accepted != m.wanted.accepted {
		return 0
	}
	by := Set(0).With(m.cfg.Self)
	for _, n := range m.live {
		p := &m.peers[n]
		if m.hears(n) && max(p.hb.Accepted.Epoch, p.hb.Active.Epoch) >= ballot {
			return 0 // a later view is known of
		}
		// Before the first view only those count that have the same nodes in their files.
		if p.hb.Promised == ballot && m.hears(n) && (p.hb.Accepted.Epoch != 0 || p.hb.Listed == m.cfg.Listed) {
			by = by.With(n)
		}
	}
	return by
}

// newest returns the newest view of this node's lineage that one of a set of
// nodes has accepted, nil for the view before the first, and whether it is
// known here.
func (m *Member) newest(by Set) (*View, bool) {
	id, v := ViewID{}, m.wanted.accepted
	if v != nil {
		id = v.ID()
	}
	for _, n := range m.live {
		a := m.peers[n].hb.Accepted
		if !by.Has(n) || a.Epoch <= id.Epoch {
			continue
		}
		if o := m.find(a); o == nil || m.wanted.accepted == nil || o.Lineage == m.wanted.accepted.Lineage {
			id, v = a, o
		}
	}
	return v, v != nil || id == (ViewID{})
}

// enough reports whether those who promised suffice to propose next.
func enough(by Set, parent *View, next *ViewHeader) bool {
	if parent == nil || next.Alone {
		return by.majority(next.Voters)
	}
	return by.majority(parent.Voters) && by.majority(parent.OldVoters)
}

// behind reports whether somebody accepted a view a while ago that this node
// has not: its proposer may be gone, and the view has to be completed.
func (m *Member) behind() bool {
	for _, n := range m.live {
		if m.present(n) && m.peers[n].hb.Accepted.Epoch > m.acceptedEpoch() {
			if m.behindSince == 0 {
				m.behindSince = m.now
			}
			return m.now-m.behindSince > 2*m.cfg.Interval
		}
	}
	m.behindSince = 0
	return false
}

// prepare asks for promises: the ballot is above all that were heard of.
func (m *Member) prepare() {
	own := m.wanted.promised.Proposer() == m.cfg.Self && m.wanted.promised > m.spent
	top := max(m.wanted.promised, m.acceptedEpoch(), m.spent)
	for _, n := range m.live {
		p := &m.peers[n]
		top = max(top, p.hb.Promised, p.hb.Accepted.Epoch, p.hb.Active.Epoch)
	}
	if own && top <= m.wanted.promised && m.wanted.promised != m.acceptedEpoch().next(m.cfg.Self) {
		return // asked already; every heartbeat repeats it
	}
	if m.now-m.preparing < m.retry || m.contested() {
		return
	}
	// Two that outbid each other would both starve: the next try comes later.
	m.preparing = m.now
	m.retry = min(2*m.retry+Time(m.random()%uint64(m.cfg.Interval)), 4*m.cfg.Lease)
	m.wanted.promised = top.next(m.cfg.Self)
	m.changed = true
}

// contested reports whether another node that is there holds the promises and
// has not had the time to use them.
func (m *Member) contested() bool {
	by := m.wanted.promised.Proposer()
	return by != m.cfg.Self && by != m.coordinator() && m.present(by) && m.now-m.promisedAt < 2*m.cfg.Interval+m.retry
}

// prepareEarly gets promises while the node that coordinates is merely quiet,
// so that its failure costs no extra round (clause V5).
func (m *Member) prepareEarly() {
	c := m.coordinator()
	if c == 0 || c == m.cfg.Self || m.present(c) || m.rank() != 0 {
		return
	}
	if m.wanted.promised.Proposer() != m.cfg.Self || m.wanted.promised <= m.spent {
		m.prepare()
	}
}

// coordinator is who proposed the view accepted last. It goes on proposing as
// long as it is there; a lower id that returns does not take over.
func (m *Member) coordinator() NodeID { return m.acceptedEpoch().Proposer() }

// turn reports whether it is for this node to propose: if it coordinates, or
// in its absence, or when nothing has come of it, by rank.
func (m *Member) turn() bool {
	c := m.coordinator()
	waited := m.now - m.desired
	switch {
	case c == m.cfg.Self:
		return true
	case c != 0 && m.present(c) && !m.peers[c].hb.Amnesiac && m.voters().Has(c) && m.peers[c].hb.State != Fenced:
		return waited >= 3*m.cfg.Interval+Time(m.rank())*2*m.cfg.Interval
	}
	return waited >= Time(m.rank())*m.cfg.Interval
}

// rank counts the voters present that have a lower id.
func (m *Member) rank() int {
	return (m.heardSet() & m.voters() & (1<<(m.cfg.Self-1) - 1)).Len()
}

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
		c.Settled = m.settled(parent)
		if parent != m.active && (parent != m.wanted.accepted || m.acceptedFor(parent) > 2*m.cfg.Interval) {
			if strings.HasPrefix(parent.Reason, completes) {
				c.because("%s", parent.Reason)
			} else {
				c.because(completes+" %v: %s", parent.Epoch, parent.Reason)
			}
		}
	}
	m.wishLater(&c, parent)
	m.wishMembers(&c, parent)
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

// settled reports whether every live node of a view acts on it.
func (m *Member) settled(v *View) bool {
	if m.followed != v {
		return false
	}
	for i, e := range v.Members {
		if n := NodeID(i + 1); e.Live() && !m.acts.Has(n) && !m.gone(n, e.Incarnation) {
			return false
		}
	}
	return true
}

func (m *Member) wishMembers(c *change, parent *View) {
	known := m.cfg.Listed | m.heardSet()
	if parent != nil {
		for i, e := range parent.Members {
			if e.Incarnation != 0 {
				known = known.With(NodeID(i + 1))
			}
		}
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
		case !unlisted.Has(n) && m.joins(n, c.Voters):
			*e = Entry{Incarnation: m.incarnationOf(n), State: Serving, Weight: m.weightOf(n)}
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
		*e = Entry{Incarnation: next, State: Serving, Weight: m.weightOf(n)}
		c.because("%s is back", m.name(n))
	case next != e.Incarnation && m.stateOf(n) == Joining && n != m.cfg.Self && m.now-m.peers[n].since < 2*m.cfg.Interval:
		// It is about to be ready: taking its buckets away would move them twice.
	default:
		e.State = Fenced
		c.because("%s gave up its buckets", m.name(n))
	}
}

// wishState follows what a live node says of itself.
func (m *Member) wishState(c *change, n NodeID, e *Entry, unlisted bool) {
	if (m.stateOf(n) == Leaving || unlisted) && e.State != Leaving {
		e.State = Leaving
		if unlisted {
			c.because("%s is in the files no more", m.name(n))
		} else {
			c.because("%s leaves", m.name(n))
		}
	}
	if w := m.weightOf(n); w != e.Weight && (n == m.cfg.Self || m.hears(n)) {
		e.Weight = w
		c.because("%s has weight %d", m.name(n), w)
	}
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
		if !m.fit() {
			return false
		}
		for _, o := range m.live {
			if e := &m.peers[o].hb.Echoes[self-1]; m.present(o) && e.Incarnation == m.incarnation && e.Heard != 0 {
				both = both.With(o)
			}
		}
		return both.majority(voters) || voters == both
	}
	p := &m.peers[n]
	if !m.present(n) || !p.hb.Fit || p.mismatch {
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

func (m *Member) weightOf(n NodeID) uint16 {
	if n == m.cfg.Self {
		return m.cfg.Weight
	}
	return m.peers[n].hb.Weight
}
