package member

// gone reports whether an incarnation of a node has ended by that node's own
// word, which may have come by way of others (clause S3).
func (m *Member) gone(n NodeID, i Incarnation) bool {
	if m.ownWord(n, i) {
		return true
	}
	a := m.wanted.accepted
	if a == nil || n == m.cfg.Self || a.Members[n-1].Incarnation != i {
		return false
	}
	id := a.ID()
	for _, o := range m.live {
		// What comes under n's own id is not passed on word: it may be another host's.
		if hb := &m.peers[o].hb; o != n && hb.Ended.Has(n) && hb.Accepted == id {
			return true
		}
	}
	return false
}

// ownWord reports whether a node has said that an incarnation of it has ended:
// it is fenced, or a later one lives.
func (m *Member) ownWord(n NodeID, i Incarnation) bool {
	if n == m.cfg.Self {
		return i != m.incarnation || m.state == Fenced
	}
	p := &m.peers[n]
	switch {
	case p.incarnation == 0:
		return false
	case p.incarnation == i:
		return p.hb.State == Fenced
	case p.buried(i):
		return true
	}
	// This node met only another one. That one is the later if it has echoed
	// something sent when this node knew already of i.
	// It may be another host's, though, while i lives on.
	unrivalled := m.now-max(p.listedAt, p.rival, p.duplicate) >= m.patience()
	return p.listed == i && p.fresh > p.listedAt && unrivalled
}
