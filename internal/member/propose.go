package member

// everyone is the set of all nodes.
const everyone = ^Set(0)

// propose changes the view where it is not what it should be (clause V5).
func (m *Member) propose() {
	if !m.voting() || m.reading {
		return // what comes next may say that it has all been done
	}
	m.probe()
	if !m.voters().Has(m.cfg.Self) && !m.alone() || m.disputed() {
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
	if !m.serves() && m.rivalled() || next != nil && !next.Alone && m.overtaken(everyone) || m.abandons(next) {
		return // it follows those who serve
	}
	if next == nil && !m.behind() {
		m.desired, m.retry = 0, m.cfg.Interval/4
		m.prepareEarly()
		return
	}
	if m.desired == 0 {
		m.desired = m.now
	}
	switch {
	case !m.turn() || next != nil && m.early(parent, next):
	case next != nil && enough(by, parent, next) && (next.Alone || !m.overtaken(by)):
		m.publish(next)
	default:
		m.prepare()
	}
}

// novice reports whether this node had no memory until so lately that it may vote
// nobody out without word (clause V6), which others may.
func (m *Member) novice() bool { return m.recovered != 0 && m.now-m.recovered < m.patience() }

// early reports whether this node could not accept yet what it would propose: it
// leaves that to those who can, and does not outbid them (clause V5).
func (m *Member) early(parent *View, next *ViewHeader) bool {
	if parent == nil || next.Alone || !m.novice() {
		return false
	}
	for i, e := range next.Members {
		if e.State == Lost && parent.Members[i].Live() {
			return true
		}
	}
	return false
}

// disputed reports whether there is no view yet, and a node is heard whose file
// lists other nodes: each file might found a cluster of its own.
func (m *Member) disputed() bool {
	if m.wanted.accepted != nil {
		return false
	}
	for n := range m.met() {
		p := &m.peers[n]
		if m.around(n) && (p.incarnation != 0 && p.hb.Listed != m.cfg.Listed || p.candidate != 0 && p.candListed != m.cfg.Listed) {
			return true
		}
	}
	return false
}

// overtaken reports whether this node does not serve and knows of a view of
// another lineage that is later, or in force: it is followed or outlived (A1), but
// not ignored (clause A4). Those who serve in an earlier one move on above this
// node's when they hear of it (A5), and would not follow it. One that is deserted
// does not count, when those who could go on with it are among by.
func (m *Member) overtaken(by Set) bool {
	a := m.wanted.accepted
	if a == nil || m.serves() {
		return false
	}
	for _, v := range m.known {
		if v.Lineage != a.Lineage && (v.Epoch > a.Epoch || v == m.active) && !m.forgotten(v) && !m.deserted(v, by) {
			return true
		}
	}
	return false
}

// abandons reports whether this node is the only voter, and nobody would live in
// a view; or goes on alone, and could not join it then. It would help nobody, and
// prevail over one in which the other serves (clause A5).
func (m *Member) abandons(next *ViewHeader) bool {
	retired := !m.cfg.Listed.Has(m.cfg.Self)
	return next != nil && next.live() == 0 && (m.sole() || next.Alone && retired)
}

// forgotten reports whether all voters of a view say that they hold one of another
// lineage, as this node does itself; and act on another, unless all do on this one.
func (m *Member) forgotten(v *View) bool {
	for left := (v.Voters | v.OldVoters).Without(m.cfg.Self); left != 0; left &= left - 1 {
		n := left.first()
		hb := &m.peers[n].hb
		o := m.find(hb.Accepted)
		if !m.hears(n) || o != nil && o.Lineage == v.Lineage || hb.Active == v.ID() && v != m.active {
			return false
		}
	}
	return true
}

// deserted reports whether all voters of a view of another line, and all that live
// in it, are heard to act on this node's line, which they follow, and to have accepted
// nothing later of the other line; and are among those whose promises this node has.
// Then that line cannot go on (clause A5).
func (m *Member) deserted(v *View, by Set) bool {
	a := m.wanted.accepted
	if m.active == nil || m.active.Lineage != a.Lineage || m.amnesiac {
		return false
	}
	for left := (v.Voters | v.OldVoters | v.live()).Without(m.cfg.Self); left != 0; left &= left - 1 {
		n := left.first()
		hb := &m.peers[n].hb
		o := m.find(hb.Accepted)
		holds := o != nil && (o.Lineage == a.Lineage || o.Lineage == v.Lineage) // a later one is looked at, too
		if !by.Has(n) || !m.hears(n) || hb.Lineage != a.Lineage || !holds {
			return false
		}
	}
	return true
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
		// For the first view only those count that have the same nodes in their files.
		first := m.wanted.accepted == nil && p.hb.Accepted.Epoch == 0
		if p.hb.Promised == ballot && m.hears(n) && (!first || p.hb.Listed == m.cfg.Listed) {
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
		o := m.find(a)
		if o != nil && m.wanted.accepted != nil && o.Lineage != m.wanted.accepted.Lineage && (m.serves() && m.deadline >= m.now || m.deserted(o, by)) {
			continue // whoever comes back with it follows this node (clause A5)
		}
		if o != nil && m.wanted.accepted != nil && o.Lineage != m.wanted.accepted.Lineage && !m.amnesiac {
			return nil, false // this node follows, when it learns that it is in force
		}
		// One without memory takes it over: its earlier life may have acted on it, and
		// nobody else know that it was in force (clause R3).
		id, v = a, o
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
	if !m.leads() {
		return
	}
	if m.again = max(m.preparing+m.retry, m.contestedUntil()); m.now < m.again {
		return
	}
	// Two that outbid each other would both starve: the next try comes later.
	m.preparing = m.now
	m.retry = min(2*m.retry+Time(m.random()%uint64(m.cfg.Interval)), 4*m.cfg.Lease)
	m.wanted.promised = top.next(m.cfg.Self)
	m.changed = true
}

// leads reports whether so many others attend to this node that something can
// come of its proposals: who is deaf must not outbid those who are not.
func (m *Member) leads() bool {
	by := Set(0).With(m.cfg.Self)
	for _, n := range m.live {
		if m.attends(n) {
			by = by.With(n)
		}
	}
	a := m.wanted.accepted
	if a == nil || m.alone() {
		return m.alone() || by.majority(m.cfg.Listed)
	}
	return by.majority(a.Voters) && by.majority(a.OldVoters)
}

// contestedUntil returns until when another node that is there and holds the
// promises has the time to use them.
func (m *Member) contestedUntil() Time {
	by := m.wanted.promised.Proposer()
	if by == m.cfg.Self || m.wanted.promised == m.acceptedEpoch().next(by) || !m.attends(by) {
		return 0 // a ballot that came with a view (V4) was not asked for
	}
	return m.promisedAt + 2*m.cfg.Interval + m.retry
}

// prepareEarly gets promises while the node that coordinates is merely quiet,
// so that its failure costs no extra round (clause V5).
func (m *Member) prepareEarly() {
	c := m.coordinator()
	if c == 0 || c == m.cfg.Self || m.novice() || m.around(c) && (m.attends(c) || !m.hears(c)) || m.rank() != 0 {
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
func (m *Member) turn() bool { return m.now >= m.turnAt() }

func (m *Member) turnAt() Time {
	c := m.coordinator()
	switch {
	case c == m.cfg.Self:
		return m.desired
	case c != 0 && m.coordinates(c):
		return m.desired + 3*m.cfg.Interval + Time(m.rank())*2*m.cfg.Interval
	}
	return m.desired + Time(m.rank())*m.cfg.Interval
}

// coordinates reports whether the proposer of the newest view is able to go on.
func (m *Member) coordinates(c NodeID) bool {
	p := &m.peers[c]
	if !m.around(c) || !m.voters().Has(c) || p.hb.Amnesiac || p.hb.State == Fenced {
		return false
	}
	return m.attends(c) || p.candArrived > p.arrived // or has just restarted
}

// rank counts the voters that attend to this node and have a lower id.
func (m *Member) rank() (rank int) {
	voters := m.voters()
	for _, n := range m.live {
		if n < m.cfg.Self && voters.Has(n) && m.attends(n) {
			rank++
		}
	}
	return rank
}
