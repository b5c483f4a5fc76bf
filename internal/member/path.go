package member

import "strings"

// fit reports whether this node may be put into a view: nothing holds it back,
// its links are up, and where others hear each other it is heard, too
// (clause P3).
func (m *Member) fit() bool {
	if !m.voting() || m.held != "" || m.leaveBy != 0 || m.cfg.Cluster&^m.carrier != 0 || !m.cfg.Listed.Has(m.cfg.Self) {
		return false
	}
	if m.cfg.Keep && (m.stale || m.inView && !m.abreast()) {
		return false
	}
	return !m.unfit()
}

// unfit reports whether this node has lost a path of late.
func (m *Member) unfit() bool { return m.unfitAt != 0 && m.now-m.unfitAt < m.probation() }

// probation is how long a path must have been good again: long, so that a node
// with a bad one does not come and go, unless it is needed.
func (m *Member) probation() Time {
	if a := m.wanted.accepted; a != nil {
		for _, e := range a.Members {
			if e.State == Serving && e.Weight > 0 {
				return 5 * m.cfg.Lease
			}
		}
	}
	return 2 * m.cfg.Interval
}

// paths gives up where this node has lost two-way hearing on an interface on
// which some other pair has it: its clients there are served by them
// (clause P1). Where nobody has it, giving up would help nobody.
func (m *Member) paths() {
	if len(m.cfg.Interfaces) < 2 {
		return // the lease says it all
	}
	if m.pathsDue = m.now-m.pathsAt < m.cfg.Interval/4; m.pathsDue {
		return
	}
	m.pathsAt = m.now
	own, others := uint8(0), uint8(0)
	for _, n := range m.live {
		if m.hears(n) {
			own |= m.twoWay(n)
			others |= m.pairsOf(n)
		}
	}
	lost := others &^ own & m.cfg.Cluster
	if lost == 0 {
		m.lostAt = 0
		return
	}
	// Where a whole segment goes dead, some hear of it before others.
	if m.lostAt == 0 {
		m.lostAt = m.now
	}
	if m.now-m.lostAt < m.hysteresis() {
		return
	}
	m.unfitAt = m.now
	if m.serves() {
		m.fence("no other node both hears it and is heard on " + m.interfaces(lost))
	}
}

// hysteresis is how much later than another one node may notice that a segment
// is dead: their heartbeats come up to an interval apart.
func (m *Member) hysteresis() Time { return m.cfg.Interval * 9 / 8 }

// twoWay returns the interfaces on which this node and n hear each other.
func (m *Member) twoWay(n NodeID) uint8 {
	p := &m.peers[n]
	return m.heardOn(p) & p.hb.Echoes[m.cfg.Self-1].Heard
}

// pairsOf returns the interfaces on which n and a third node hear each other, where
// one of them could take over: where nobody could, giving up would help nobody, too.
func (m *Member) pairsOf(n NodeID) (on uint8) {
	for _, o := range m.live {
		if o > n && m.hears(o) && (m.couldServe(n) || m.couldServe(o)) {
			on |= m.peers[n].hb.Echoes[o-1].Heard & m.peers[o].hb.Echoes[n-1].Heard
		}
	}
	return on
}

// couldServe reports whether the view in force has a node alive.
func (m *Member) couldServe(n NodeID) bool {
	return m.active == nil || m.active.Members[n-1].Live()
}

// interfaces names the interfaces in a mask.
func (m *Member) interfaces(mask uint8) string {
	var names []string
	for i, name := range m.cfg.Interfaces {
		if mask>>i&1 == 1 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " and ")
}
