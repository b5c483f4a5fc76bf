package member

// other returns the other one of two voters, where partition: available lets
// one go on without it (clause A1); else 0.
func (m *Member) other() NodeID {
	voters := m.voters()
	if !m.cfg.Available || voters.Len() != 2 || !voters.Has(m.cfg.Self) {
		return 0
	}
	return voters.Without(m.cfg.Self).first()
}

// lastWord returns when anything was heard of a node last, proved or not.
func (m *Member) lastWord(n NodeID) Time { return max(m.peers[n].arrived, m.peers[n].candArrived) }

// alone reports whether this node may go on without the other voter: it has
// not heard it for longer than any lease, so that no lease of the other stands
// on its word, and something outside the cluster has answered since, so that it
// is not this node that is cut off (clauses A1, A2).
func (m *Member) alone() bool {
	n := m.other()
	return n != 0 && m.silent(n) && m.now-m.lastWord(n) >= m.patience() && m.evidence > m.lastWord(n)
}

// probe asks for evidence while this node may need it soon.
func (m *Member) probe() {
	n := m.other()
	if n == 0 || m.silence(n) < m.quiet() || m.evidence > m.lastWord(n) || m.now-m.probed < m.cfg.Interval/2 {
		return
	}
	m.probed = m.now
	m.fx.Probe = true
}

// extend keeps the lease of one of two voters while it waits to go on alone:
// the other has not been heard for almost a lease, and something outside
// answers. Otherwise the death of one would interrupt the other (clause A6).
func (m *Member) extend() Time {
	n := m.other()
	if n == 0 || !m.active.Voters.Has(n) || m.deadline == 0 || m.now > m.deadline || m.now < m.graceUntil {
		return 0
	}
	if last := m.lastWord(n); m.now-last < m.cfg.Lease-2*m.cfg.Interval || m.evidence <= last {
		return 0
	}
	return m.now + 3*m.cfg.Interval/2
}
