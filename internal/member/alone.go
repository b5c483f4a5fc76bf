package member

// other returns the other one of two voters, where partition: available lets
// one go on without it (clause A1); else 0. A node that is about to become the
// second voter counts as one; one that is about to be none any more does not: the
// other may be the only one already, and grant itself its lease.
func (m *Member) other() NodeID {
	voters, a := m.voters().With(m.cfg.Self), m.wanted.accepted
	retires := a != nil && a.OldVoters.Has(m.cfg.Self) && !a.Voters.Has(m.cfg.Self)
	if !m.cfg.Available || voters.Len() != 2 || retires {
		return 0
	}
	return voters.Without(m.cfg.Self).first()
}

// lastWord returns when anything was heard of a node last, proved or not.
func (m *Member) lastWord(n NodeID) Time { return max(m.peers[n].arrived, m.peers[n].candArrived) }

// alone reports whether this node may go on without the other voter: it has
// not heard it for longer than any lease, so that no lease of the other stands
// on its word; nor does anybody else hear it; and something outside the cluster
// has answered since, so that it is not this node that is cut off (clauses A1,
// A2). Or the other says itself that it has given up. One that does not serve,
// or whose lease ran out, may have missed that the other went on alone, and
// warns it first (A4).
func (m *Member) alone() bool {
	n := m.other()
	if n == 0 || m.now < m.graceUntil || m.heardElsewhere(n) {
		return false
	}
	if !m.givenUp(n) && (m.silence(n) < m.patience() || m.evidence <= m.lastWord(n)) {
		return false
	}
	kept := m.deadline >= m.now || m.givenUp(n)
	return m.serves() && m.voters().Has(n) && kept || m.warned()
}

// beginsAlone reports whether a node went on alone so short a time ago that the other
// one may have a lease still: it may hear who joins now, and not have heard this node
// (clause A3).
func (m *Member) beginsAlone() bool {
	return m.aloneAt != 0 && m.now-m.aloneAt < m.patience()
}

// givenUp reports whether the other voter says that it is fenced, and cannot
// agree to anything else, since it does not hear this node (clause A1).
func (m *Member) givenUp(n NodeID) bool {
	a, p := m.wanted.accepted, &m.peers[n]
	return a != nil && p.incarnation == a.Members[n-1].Incarnation && p.hb.State == Fenced && m.hears(n) && m.now-p.echoed >= m.quiet()
}

// heardElsewhere reports whether another node that this one hears does not
// suspect n, or serves: n may hear that one, and has granted it its lease.
func (m *Member) heardElsewhere(n NodeID) bool {
	for o := range m.met() {
		p := &m.peers[o]
		deaf := p.candidate != 0 && m.now-p.candArrived < m.patience() && p.candLineage != 0
		if o != n && (deaf || m.hears(o) && (!p.hb.Suspects.Has(n) || serving(p.hb.State))) {
			return true
		}
	}
	return false
}

// warns reports that this node may go on alone, and since when it says so.
func (m *Member) warns() bool {
	a, n := m.wanted.accepted, m.other()
	if m.cfg.Cluster&^m.carrier != 0 || m.leaveBy != 0 || m.held != "" { // nobody would hear it, or it does not go on
		m.warnedAt = 0
		return false
	}
	// One that follows another line does not: who leads that would wait for it. But
	// one that has begun does, until its view is on disk and it serves.
	begun := a != nil && a.Alone && a.Voters.Has(m.cfg.Self) && m.durable.accepted != a
	decided := begun || m.sole() && !m.overtaken(everyone)
	// One that was stopped, or without a link, may have missed what the other says
	// in every interval.
	unsure := m.now < max(m.graceUntil, m.linkedAt+m.grace())
	if m.serves() || m.opposed() || !decided && (n == 0 || unsure || !m.givenUp(n) && (m.silence(n) < m.quiet() || m.evidence <= m.lastWord(n))) {
		m.warnedAt = 0
		return false
	}
	if m.warnedAt == 0 {
		m.warnedAt = m.now
	}
	return true
}

// sole reports whether this node is the only voter of a cluster of several:
// before it serves again it warns, too.
func (m *Member) sole() bool {
	return m.cfg.Available && m.voters() == Set(0).With(m.cfg.Self) && m.cfg.Listed.Len() > 1
}

// warned reports whether the warning has been out for so long that the lease
// of whoever hears it is over. One that warned itself may have begun since.
func (m *Member) warned() bool {
	return m.warnedAt != 0 && m.now >= m.warnedUntil()
}

// warnedUntil is when this node has warned for long enough.
func (m *Member) warnedUntil() Time {
	since := m.warnedAt
	for n := range m.met() {
		if p := &m.peers[n]; p.warns() {
			since = max(since, p.warnedAt)
		}
	}
	return since + m.warning()
}

// warns reports that a node warned last that it may go on alone, and has not heard
// this one since.
func (p *peer) warns() bool {
	return p.warnedAt != 0 && (p.hb.Alone || p.fresh <= p.warnedAt)
}

// warning is how long that is.
func (m *Member) warning() Time { return m.patience() + 2*m.cfg.Interval }

// probe asks for evidence while this node may need it soon.
func (m *Member) probe() {
	n := m.other()
	if n == 0 || m.silence(n) < m.probing() || m.evidence > m.lastWord(n) || m.now-m.probed < m.cfg.Interval/2 {
		return
	}
	m.probed = m.now
	m.fx.Probe = true
}

// probing is the silence after which evidence is looked for: it has to be there
// when extend needs it.
func (m *Member) probing() Time { return min(m.quiet(), m.extending()) * 3 / 4 }

// extending is the silence after which one of two extends its own lease: longer than
// until the next heartbeat is read, also by a process that lags a little (clause A6).
func (m *Member) extending() Time {
	return max(m.cfg.Lease-2*m.cfg.Interval, 3*m.cfg.Interval/2)
}

// extend keeps the lease of one of two voters while it waits to go on alone:
// the other has not been heard for almost a lease, and something outside
// answers. Otherwise the death of one would interrupt the other (clause A6).
func (m *Member) extend() Time {
	n := m.other()
	if n == 0 || m.voters().Len() != 2 || !m.voters().Has(m.cfg.Self) || m.deadline == 0 || m.now > m.deadline || m.now < m.graceUntil {
		return 0
	}
	if m.durable.accepted != m.wanted.accepted {
		return 0 // who the voters are is not on disk yet (clause R1)
	}
	last := m.lastWord(n)
	if m.now-last < m.extending() || m.evidence <= last {
		return 0
	}
	if last-m.peers[n].echoed >= m.quiet()+m.cfg.Interval {
		return 0 // it had not heard this node for long, and may go on alone itself
	}
	return m.now + 3*m.cfg.Interval/2
}
