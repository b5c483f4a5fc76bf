package member

// aloneWith reports whether the nodes of a group may go on without a majority
// (partition: available): they hear each other, have heard no other voter for
// longer than any lease, and something outside the cluster has answered since,
// so that it is not this node that is cut off (clauses A1, A2).
func (m *Member) aloneWith(group Set) bool {
	all := m.voters() | m.cfg.Listed
	if !m.cfg.Available || !group.Has(m.cfg.Self) || group.majority(m.voters()) {
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
	quiet, last := Set(0), Time(0)
	for n := NodeID(1); n <= MaxNodes; n++ {
		if all := m.voters() | m.cfg.Listed; all.Has(n) && n != m.cfg.Self && m.silence(n) >= m.quiet() {
			quiet = quiet.With(n)
			last = max(last, m.peers[n].arrived)
		}
	}
	rest := (m.voters() | m.cfg.Listed) &^ quiet
	if quiet == 0 || rest.majority(m.voters()) || m.active != nil && m.active.Voters&^rest == 0 || m.sinceEvidence(last) {
		return
	}
	m.probed = m.now
	m.fx.Probe = true
}
