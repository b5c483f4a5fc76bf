package member

// aloneWith reports whether the nodes of a group may go on without a majority
// (partition: available): they are half of the voters, so that no lease of the
// other half stands without them; they hear each other, have heard no other
// voter for longer than any lease, and something outside the cluster has
// answered since, so that it is not this node that is cut off (clauses A1, A2).
func (m *Member) aloneWith(group Set) bool {
	all := m.voters()
	if !m.cfg.Available || !group.Has(m.cfg.Self) || 2*(group&all).Len() != all.Len() {
		return false
	}
	last := Time(0)
	for n := NodeID(1); n <= MaxNodes; n++ {
		switch {
		case !all.Has(n) || n == m.cfg.Self:
		case group.Has(n):
			if !m.hears(n) {
				return false
			}
		case !m.silent(n) || m.now-m.peers[n].candArrived < m.patience() && m.peers[n].candidate != 0:
			return false
		default:
			last = max(last, m.peers[n].arrived, m.peers[n].candArrived)
		}
	}
	return m.sinceEvidence(last)
}

// sinceEvidence reports whether something outside answered after t.
func (m *Member) sinceEvidence(t Time) bool { return m.evidence > t }

// probe asks for evidence while this node may need it soon.
func (m *Member) probe() {
	if !m.cfg.Available || !m.voting() || m.now-m.probed < m.cfg.Interval/2 {
		return
	}
	rest, last := m.voters(), Time(0)
	for left := rest.Without(m.cfg.Self); left != 0; left &= left - 1 {
		if n := left.first(); m.silence(n) >= m.quiet() {
			rest = rest.Without(n)
			last = max(last, m.peers[n].arrived, m.peers[n].candArrived)
		}
	}
	if 2*rest.Len() != m.voters().Len() || m.sinceEvidence(last) {
		return
	}
	m.probed = m.now
	m.fx.Probe = true
}

// extend keeps the lease of one of two voters while it waits to go on alone:
// the other has not been heard for almost a lease, and something outside
// answers. Otherwise the death of one would interrupt the other (clause A6).
func (m *Member) extend() Time {
	v := m.active
	if !m.cfg.Available || v.Voters.Len() != 2 || v.Voters != v.OldVoters || !v.Voters.Has(m.cfg.Self) ||
		m.deadline == 0 || m.now > m.deadline || m.now < m.graceUntil {
		return 0
	}
	n := v.Voters.Without(m.cfg.Self).first()
	last := max(m.peers[n].arrived, m.peers[n].candArrived)
	if m.now-last < m.cfg.Lease-2*m.cfg.Interval || !m.sinceEvidence(last) {
		return 0
	}
	return m.now + 3*m.cfg.Interval/2
}
