package member

// renew moves the lease's end to L after the sending of the newest heartbeat
// that a majority of voters, this node among them, has echoed (clause L1).
func (m *Member) renew() {
	if !m.inActive() || m.state == Fenced || m.mute() || m.rivalled() {
		return
	}
	stamp := m.grantedBy(m.active.Voters)
	if m.active.OldVoters != m.active.Voters {
		stamp = min(stamp, m.grantedBy(m.active.OldVoters))
	}
	deadline := Time(0)
	if stamp > 0 {
		deadline = stamp + m.cfg.Lease
	}
	if deadline = max(deadline, m.extend()); deadline <= m.deadline {
		return
	}
	m.deadline, m.renewed = deadline, m.now
	m.fx.LeaseSet, m.fx.LeaseEpoch, m.fx.LeaseDeadline = true, uint64(m.active.Epoch), deadline
}

// grantedBy returns the newest stamp that a majority of the voters have echoed
// for the leases of the view in force; 0: none. A voter echoes itself what it
// has sent, under the view that it has accepted (clause L2), too.
func (m *Member) grantedBy(voters Set) Time {
	var stamps [MaxNodes]Time
	n, grants := 0, m.active.Grants()
	for _, id := range m.live {
		if p := &m.peers[id]; voters.Has(id) && p.grantOf == grants && p.grant > 0 {
			at := n
			for at > 0 && stamps[at-1] < p.grant {
				stamps[at] = stamps[at-1]
				at--
			}
			stamps[at] = p.grant
			n++
		}
	}
	need := voters.Len()/2 + 1
	if a := m.wanted.accepted; voters.Has(m.cfg.Self) && a != nil && a.Grants() == grants && a.holds(m.cfg.Self, m.incarnation) {
		need--
	}
	switch {
	case need == 0 && (m.now < m.graceUntil || m.lapsed()):
		return 0 // another may have gone on while this node did not serve (clause A4)
	case need == 0:
		return min(m.sent, m.now)
	case need > n:
		return 0
	}
	return stamps[need-1]
}

// rivalled reports whether a node is heard that serves in another line of views,
// or is about to (clause A4).
func (m *Member) rivalled() bool {
	if m.now < m.heeds {
		return true
	}
	if m.rivalAt == 0 || m.now-m.rivalAt >= m.patience() {
		return false
	}
	for n := range m.met() {
		p := &m.peers[n]
		if p.warns() && m.now-p.warnedAt < m.patience() {
			return true
		}
	}
	return m.opposed()
}

// opposed reports whether a node is heard that serves in another line of views.
func (m *Member) opposed() bool {
	if m.rivalAt == 0 || m.now-m.rivalAt >= m.patience() {
		return false
	}
	for n := range m.met() {
		p := &m.peers[n]
		unproved := p.candidate != 0 && m.now-p.candArrived < m.patience()
		if unproved && m.opposes(p.candLineage) { // it may not hear this node
			return true
		}
		if m.now-m.lastWord(n) < m.patience() && m.servesElsewhere(n) {
			return true
		}
	}
	return false
}

// meetRivals notes, when another view comes into force, that a node has just been heard
// that serves in another line than that.
func (m *Member) meetRivals() {
	for n := range m.met() {
		if last := m.lastWord(n); last > m.rivalAt && m.servesElsewhere(n) {
			m.rivalAt = last
		}
	}
}

// servesElsewhere reports whether a node that has proved itself served in another line
// when it was heard last.
func (m *Member) servesElsewhere(n NodeID) bool {
	p := &m.peers[n]
	return p.incarnation != 0 && m.opposes(m.servedLineage(n, &p.hb))
}

// servedLineage returns the line of views that a node serves in, or hears others
// act in; 0: in none, or it has no lease and gets none that this node does not
// grant.
func (m *Member) servedLineage(n NodeID, hb *Heartbeat) uint64 {
	if !serving(hb.State) {
		for left := hb.Acting.Without(n).Without(m.cfg.Self); left != 0; left &= left - 1 {
			if hb.Echoes[left.first()-1].Heard != 0 {
				return hb.Lineage
			}
		}
		return 0
	}
	if v := m.find(hb.Active); hb.LeaseLeft <= 0 && v != nil && v.Voters.Len() == 2 && v.Voters.Has(m.cfg.Self) {
		return 0
	}
	return hb.Lineage
}

// opposes reports whether a line of views that a node serves in is another one
// than that in force here.
func (m *Member) opposes(line uint64) bool {
	return line != 0 && (m.active == nil || m.active.Lineage != line)
}

func serving(s State) bool { return s == Serving || s == Draining || s == Leaving }

// lapse gives up what this node serves when its lease has run out and did not
// come back with the next heartbeat: the others may hear a node that cannot
// hear them, and wait for its word (clause P1).
func (m *Member) lapse() {
	if !m.serves() || m.now < m.lapsesAt() || m.now < m.graceUntil && !m.lapsed() {
		return
	}
	m.fence("its lease ran out: too few of the others answer")
}

// lapsesAt is when that is, as far as is known.
func (m *Member) lapsesAt() Time {
	end := m.leaseEnd()
	switch n := m.other(); {
	case n == 0 || m.present(n):
		end += m.cfg.Interval / 2
	case m.evidence > m.lastWord(n):
		end += 5 * m.cfg.Interval / 2 // it may go on alone before that …
	default: // … or the other may, if it hears this word while its own lease stands (clause A1)
	}
	return end
}

// lapsed reports whether this node is the only voter, and its lease ran out since
// it heard a rival, or so long ago that another may have begun meanwhile without
// being heard. That one has to be silent for P first, and then to warn (clause
// A4): a shorter pause does no harm.
func (m *Member) lapsed() bool {
	if !m.sole() || m.deadline == 0 || m.deadline >= m.now {
		return false
	}
	return m.rivalAt > m.deadline-m.cfg.Lease || m.now-m.deadline > m.patience()
}

// leaseEnd is when the lease runs out, or must have begun: where a new view takes
// other grants. One that takes the same does not put that off.
func (m *Member) leaseEnd() Time {
	if m.renewed > m.grantedSince || m.sole() && m.deadline != 0 {
		return m.deadline
	}
	return max(m.deadline, m.grantedSince+m.cfg.Lease)
}

// fence ends this node's right to its buckets, and says so (clause S3).
func (m *Member) fence(reason string) {
	m.zero()
	m.state = Fenced
	m.fencedSince = m.now
	m.changed = true
	m.logf("%s gives up its buckets: %s", m.name(m.cfg.Self), reason)
}

// zero takes the lease and the table away.
func (m *Member) zero() {
	m.deadline = 0
	m.fx.LeaseSet, m.fx.LeaseEpoch, m.fx.LeaseDeadline = true, m.activeEpoch(), 0
}

func (m *Member) activeEpoch() uint64 {
	if m.active == nil {
		return 0
	}
	return uint64(m.active.Epoch)
}

// rejoin takes a new incarnation for a node that was fenced, as soon as enough
// others are heard that can put it into a view again (clause S4). It follows
// the one before P and two heartbeats later at least, so that no message of one
// passes for fresh when the next but one lives.
func (m *Member) rejoin() {
	// One that could not join stays fenced, so that all hear its word: the next
	// incarnation of a node that is deaf, too, would never be believed.
	if m.leaveBy != 0 || m.held != "" || m.cfg.Cluster&^m.carrier != 0 || m.now < m.nextLife() {
		return
	}
	if m.state == Joining && (m.wasPutOut() || m.keptStill()) {
		m.reincarnate()
	}
	if m.state != Fenced || m.unfit() && m.sent < m.fencedSince {
		return // one that stays out for longer says so first
	}
	heard, voters := m.heardSet().With(m.cfg.Self), m.voters()
	for n := range m.peers {
		if p := &m.peers[n]; p.candidate != 0 && m.now-p.candArrived < m.quiet() {
			heard = heard.With(NodeID(n))
		}
	}
	if n := m.other(); heard.majority(voters) || n != 0 && m.evidence > max(m.fencedSince, m.lastWord(n)) {
		m.reincarnate()
	}
}

// nextLife is when the next incarnation may be drawn.
func (m *Member) nextLife() Time { return m.bornAt + m.patience() + 2*m.cfg.Interval }

// wasPutOut reports whether this incarnation was put into a view and out again
// without hearing of it: who did that does not echo it any more, and so cannot
// even prove to live.
func (m *Member) wasPutOut() bool {
	for _, v := range m.known {
		if e := v.Members[m.cfg.Self-1]; e.Incarnation == m.incarnation && !e.Live() {
			return true
		}
	}
	return false
}

// keptStill reports whether this incarnation has kept still for another host with
// its id, and may speak again: the others, which met that host meanwhile, may
// have taken this incarnation for an earlier one, and never believe it (clause M4).
func (m *Member) keptStill() bool { return m.stillUntil > m.bornAt && !m.impostor() }

func (m *Member) reincarnate() {
	m.ownPast, m.previous, m.incarnation = m.previous, m.incarnation, m.draw()
	m.bornAt = m.now
	m.state = Joining
	m.changed = true
	// What was echoed to the last incarnation is no lease for this one.
	for i := range m.peers {
		m.peers[i].grant, m.peers[i].grantOf = 0, 0
	}
}

// shun grants no leases to nodes that are heard but are deaf to this one, or have
// not acted for a lease and more on a view that they are in: they may never
// learn that others wait for their word. After P of that they can be put out as
// if they were silent (clause L6).
func (m *Member) shun() {
	idle := m.idle()
	for n := range m.met() {
		p := &m.peers[n]
		switch {
		case !idle.Has(n) && !m.deaf(n) || m.now-m.lastWord(n) >= m.patience():
			p.shunned = 0
		case p.shunned == 0:
			p.shunned = m.now
		}
	}
}

// deaf reports whether a node has echoed nothing for a lease and more.
func (m *Member) deaf(n NodeID) bool {
	p := &m.peers[n]
	since := max(p.fresh, p.met, m.bornAt, m.started+m.patience())
	if p.candArrived > p.arrived {
		since = max(p.candMet, m.bornAt, m.started+m.patience())
	}
	return m.now-since > m.cfg.Lease+2*m.cfg.Interval
}

// idle is the set of nodes that have not acted for a lease and more on a view
// that they are in: the one in force, or one that may never come into force.
func (m *Member) idle() Set {
	a, long := m.wanted.accepted, m.cfg.Lease+2*m.cfg.Interval
	switch {
	case a == nil || m.active != nil && (m.active != a || m.now-m.activeSince <= long):
		return 0
	case m.active != nil:
		return m.livesIn(a) &^ m.acts
	}
	s := Set(0)
	for left := m.livesIn(a); left != 0; left &= left - 1 {
		n := left.first()
		if p := &m.peers[n]; p.hb.State == Joining && p.incarnation == p.listed && m.now-p.listedAt > long {
			s = s.With(n)
		}
	}
	return s
}
