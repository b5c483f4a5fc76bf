package member

// wishVoters brings the voters in line with the files, one step at a time:
// first views are accepted by majorities of the old and the new voters, then
// by the new ones alone (clause V6).
func (m *Member) wishVoters(c *change, parent *View) {
	if m.alone() && m.sameVoters(parent) {
		m.wishAlone(c)
		return
	}
	if parent == nil || parent != m.active || c.done {
		return // voters change only on top of a view that is known to be chosen
	}
	if c.OldVoters != c.Voters {
		c.OldVoters = c.Voters
		c.because("new voters alone")
		return
	}
	target := m.targetVoters(c)
	// Not while anybody is missing: for a lease after the change none could be
	// put out (V6).
	present := m.heardSet().With(m.cfg.Self)
	if target == c.Voters || !present.majority(target) || c.live()&^present != 0 {
		return
	}
	c.OldVoters, c.Voters = c.Voters, target
	c.because("voters change")
}

// sameVoters reports whether a view has the voters of the one accepted here, which
// may be an earlier one: a ballot of this node's own may have kept it from accepting.
func (m *Member) sameVoters(v *View) bool {
	a := m.wanted.accepted
	return v == a || v != nil && a != nil && v.Voters == a.Voters && v.OldVoters == a.OldVoters
}

// wishAlone makes a view in which this node is the only voter. Others that it
// hears stay in.
func (m *Member) wishAlone(c *change) {
	self := m.cfg.Self
	c.Alone, c.Voters, c.OldVoters = true, Set(0).With(self), Set(0).With(self)
	if e := &c.Members[m.other()-1]; e.Live() {
		e.State = Lost
	}
	if e := &c.Members[self-1]; !e.Live() && m.state == Joining && m.fit() {
		*e = m.entry(self, *e)
	}
	c.because("no other voter is heard, and something outside answers")
}

// live is the set of a view's live nodes.
func (v *ViewHeader) live() (s Set) {
	for i := range v.Members {
		if v.Members[i].Live() {
			s = s.With(NodeID(i + 1))
		}
	}
	return s
}

// targetVoters are the voters that most of the present ones have in their
// files: without those that most have not, and with those that most have, once
// they are heard. With partition: available they are those of them that live,
// so that the survivors of one failure outvote the next.
func (m *Member) targetVoters(c *change) Set {
	unlisted, target := m.unlisted(c.Voters), Set(0)
	for left := c.Voters | m.heardSet().With(m.cfg.Self); left != 0; left &= left - 1 {
		n := left.first()
		e := &c.Members[n-1]
		if c.Voters.Has(n) && (e.Live() || !unlisted.Has(n) && !(m.cfg.Available && m.absent(n, e))) ||
			e.Live() && !unlisted.Has(n) && m.listedBy(n, c.Voters).majority(c.Voters) && (n == m.cfg.Self || !m.peers[n].hb.Amnesiac) {
			target = target.With(n)
		}
	}
	return target
}

// absent reports whether a node was put out of the view and is not about to
// come back.
func (m *Member) absent(n NodeID, e *Entry) bool {
	if n == m.cfg.Self || e.Live() {
		return false
	}
	return !m.present(n) || m.stateOf(n) == Fenced && m.now-m.peers[n].since > 2*m.cfg.Interval
}

// listedBy returns which of the voters have a node in their files.
func (m *Member) listedBy(n NodeID, voters Set) (by Set) {
	if m.cfg.Listed.Has(n) {
		by = by.With(m.cfg.Self)
	}
	for _, o := range m.live {
		if m.present(o) && m.peers[o].hb.Listed.Has(n) {
			by = by.With(o)
		}
	}
	return by & voters
}

// unlisted returns the nodes that a majority of the voters have not in their
// files (any more).
func (m *Member) unlisted(voters Set) (s Set) {
	heard := m.heardSet().With(m.cfg.Self) & voters
	common := m.cfg.Listed
	for _, o := range m.live {
		if heard.Has(o) {
			common &= m.peers[o].hb.Listed
		}
	}
	all := voters | heard | m.heardSet()
	if a := m.wanted.accepted; a != nil {
		all |= m.livesIn(a)
	}
	for left := all &^ common; left != 0; left &= left - 1 {
		n := left.first()
		if (heard &^ m.listedBy(n, voters)).majority(voters) {
			s = s.With(n)
		}
	}
	return s
}
