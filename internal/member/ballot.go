package member

// Views are agreed on by CASPaxos: a register that holds the view, changed by
// whoever gets a majority's promise for its ballot. Promises and acceptances
// are no messages of their own: every heartbeat says what its sender has
// promised and accepted (clauses V1 to V4).

// voting reports whether this node's word counts now (clauses R2, R3).
func (m *Member) voting() bool { return !m.mute() && !m.amnesiac && !m.left && !m.impostor() }

// voters are those of the highest view accepted; before the first view, those
// in the file.
func (m *Member) voters() Set {
	if a := m.wanted.accepted; a != nil {
		return a.Voters | a.OldVoters
	}
	return m.cfg.Listed
}

// vote promises and accepts what it may.
func (m *Member) vote() {
	if !m.voting() {
		return
	}
	for _, n := range m.live {
		p := &m.peers[n]
		// The ballot that a proposer holds by its own acceptance (V4) is promised
		// with the view, which this heartbeat may have overtaken.
		e := p.hb.Promised
		if e > m.wanted.promised && e.Proposer() == n && e != p.hb.Accepted.Epoch.next(n) && m.hears(n) {
			m.wanted.promised, m.promisedAt = e, m.now
			if a := m.wanted.accepted; a != nil && m.assists(n, a) {
				m.push(a)
			}
		}
	}
	var best *View
	for _, v := range m.known {
		if v.Epoch > m.acceptedEpoch() && v.Epoch >= m.wanted.promised &&
			(best == nil || v.Epoch > best.Epoch) && m.acceptable(v) {
			best = v
		}
	}
	if best != nil {
		m.accept(best)
		if m.relays(best) {
			m.push(best)
		}
	}
}

func (m *Member) acceptedEpoch() Epoch {
	if m.wanted.accepted == nil {
		return 0
	}
	return m.wanted.accepted.Epoch
}

// accept takes a view, and with it promises the proposer its next ballot: as
// long as it lives, the proposer can go on without asking again (clause V4).
func (m *Member) accept(v *View) {
	m.wanted.accepted = v
	m.wanted.promised = max(m.wanted.promised, v.Epoch.next(v.Epoch.Proposer()))
	m.list(v)
	m.changed = true
}

// list notes since when this node knows of the incarnations in a view.
func (m *Member) list(v *View) {
	for i, e := range v.Members {
		if p := &m.peers[i+1]; p.listed != e.Incarnation {
			p.listed, p.listedAt = e.Incarnation, m.now
		}
	}
}

// acceptable is a voter's judgement of a proposed view (clause V3): whoever
// lives in the view accepted last and not in this one must have said so, or
// have been silent so long that no lease of its stands on this voter's word.
func (m *Member) acceptable(v *View) bool {
	a := m.wanted.accepted
	if a == nil {
		return v.Alone && m.goesAlone(v) || v.Parent != (ViewID{}) || v.Voters == m.cfg.Listed
	}
	if v.Alone && !m.goesAlone(v) {
		return false
	}
	parent := m.find(v.Parent) // of this node's line, also where it could not accept that one
	fork := v.Lineage != a.Lineage && v.Parent != a.ID() && (parent == nil || parent.Lineage != a.Lineage)
	for i := range a.Members {
		n, old := NodeID(i+1), a.Members[i]
		if old.Live() && (fork || !v.holds(n, old.Incarnation)) && !m.outOf(v, n, old.Incarnation, fork) {
			return false
		}
	}
	return true
}

// goesAlone reports whether a view made alone is this node's own, and right.
func (m *Member) goesAlone(v *View) bool {
	return v.Voters == Set(0).With(m.cfg.Self) && m.alone()
}

// outOf reports whether an incarnation cannot act on earlier views any more,
// so that v may do without it.
func (m *Member) outOf(v *View, n NodeID, i Incarnation, fork bool) bool {
	e := v.Members[n-1]
	switch {
	case m.gone(n, i):
		return true
	case n == m.cfg.Self:
		return fork && m.active == nil // it never acted on a, and will not
	case fork && m.peers[n].incarnation == i && m.follows(n, v):
		return true
	case !fork && e.State == Fenced && e.Incarnation == i:
		return true // the proposer has its word
	case !fork && e.Incarnation != i && !(m.hears(n) && m.peers[n].incarnation == i):
		return true // the proposer met a later incarnation
	}
	return m.silent(n) && (v.Alone || m.now-v.votersSince >= m.patience()) // clause V6
}

// follows reports whether a node acts on a view of another line, or serves in
// none and has accepted that line.
func (m *Member) follows(n NodeID, v *View) bool {
	hb := &m.peers[n].hb
	return hb.Active == v.ID() || m.hears(n) && !serving(hb.State) && hb.Grants == v.Grants()
}

// chosen reports whether a view is known to be accepted by a majority of its
// voters, old and new (clause V2).
func (m *Member) chosen(v *View) bool {
	by := Set(0)
	if m.durable.accepted == v {
		by = by.With(m.cfg.Self)
	}
	id := v.ID()
	for _, n := range m.live {
		p := &m.peers[n]
		if p.hb.Active == id && m.hears(n) {
			return true
		}
		if p.hb.Accepted == id {
			by = by.With(n)
		}
	}
	return by.majority(v.Voters) && by.majority(v.OldVoters)
}

// learn acts on the newest view that is known to be chosen.
func (m *Member) learn() {
	var best *View
	for _, v := range m.known {
		if v.Epoch > Epoch(m.activeEpoch()) && (m.active != nil || m.succeeds(v)) && (best == nil || v.Epoch > best.Epoch) && m.chosen(v) {
			best = v
		}
	}
	if best != nil {
		m.activate(best)
	}
}

// succeeds reports whether a restarted node may begin with a view: one that is
// not older than what it may have acted on before (clause R1).
func (m *Member) succeeds(v *View) bool {
	a := m.wanted.accepted
	return a == nil || v.Epoch >= a.Epoch || v.Lineage == a.Lineage
}

// activate makes a view the one that this node acts on. The buckets that it
// loses are given up with the effects of this event, before any message says
// that the view is in force here (clause T2).
func (m *Member) activate(v *View) {
	prev := m.active
	m.frozen = 0
	serving := m.serves()
	if !serving || prev == nil || prev.Grants() != v.Grants() {
		m.grantedSince = m.now
	}
	m.active, m.activeSince = v, m.now
	m.meetRivals()
	if v.Alone {
		m.aloneAt = m.now
	}
	m.changed = true
	m.logf("view %v: %s", v.Epoch, v.Reason)
	if v.Epoch > m.acceptedEpoch() {
		m.accept(v) // chosen: accepting it changes nothing for others
	}
	holds := v.holds(m.cfg.Self, m.incarnation)
	sole := v.Voters == Set(0).With(m.cfg.Self) // it goes on itself
	if prev != nil && prev.Lineage != v.Lineage && !sole {
		m.returns(prev, v) // that line may have gone on without this node for a while
	}
	switch {
	case serving && !holds:
		m.fence("the others went on without it: " + v.Reason)
	case serving && prev != nil && prev.Lineage != v.Lineage && v.Parent != prev.ID() && !sole:
		m.fence("other nodes went on without it and prevail")
	case holds && m.state != Fenced:
		if m.state == Joining {
			m.deadline = 0
			m.returns(prev, v)
		}
		m.state = v.Members[m.cfg.Self-1].State
	}
}

// remembered reports whether a node is heard that has accepted a view and has
// not proved itself: one whose file does not have this node yet, perhaps.
func (m *Member) remembered() bool {
	for n := range m.met() {
		if p := &m.peers[n]; p.candKnows && p.candArrived > p.arrived && m.now-p.candArrived < m.patience() {
			return true
		}
	}
	return false
}

// recalled reports whether, of some voters, so many are heard that one of them knows of
// any view that a majority chose, or so many have no memory that none stands.
func (m *Member) recalled(voters, fresh, forgetful Set) bool {
	knowing := (fresh &^ forgetful & voters).Len()
	return 2*knowing >= voters.Len() || forgetful.majority(voters) && !m.remembered()
}

// recover ends amnesia: a node without memory may vote when it has heard so
// many others that one of them knows of any view that it helped to choose, or
// when so many have no memory that no lease can stand (clause R3).
func (m *Member) recover() {
	if !m.amnesiac || m.mute() {
		return
	}
	since := m.started + m.patience()
	fresh := Set(0)
	for _, n := range m.live {
		if p := &m.peers[n]; m.hears(n) && p.arrived >= since {
			if p.hb.Active.Epoch > Epoch(m.activeEpoch()) {
				return // learn that view first
			}
			fresh = fresh.With(n)
		}
	}
	newest, known := m.newest(fresh)
	if !known {
		return
	}
	forgetful, top := Set(0).With(m.cfg.Self), m.wanted.promised
	for left := fresh; left != 0; left &= left - 1 {
		n := left.first()
		hb := &m.peers[n].hb
		top = max(top, hb.Promised, hb.Accepted.Epoch)
		if hb.Amnesiac {
			forgetful = forgetful.With(n)
		}
	}
	voters, old := m.cfg.Listed, m.cfg.Listed
	if newest != nil {
		voters, old = newest.Voters, newest.OldVoters // the next view may be chosen by the new ones alone
	}
	if !m.recalled(voters, fresh, forgetful) || !m.recalled(old, fresh, forgetful) {
		return
	}
	if newest != m.wanted.accepted {
		m.accept(newest) // it may have before; and no lease stands on its word
	}
	m.amnesiac, m.recovered = false, m.now
	m.wanted.promised = max(m.wanted.promised, top)
	// A ballot of an earlier life may be about that nobody heard here knows of.
	m.spent = max(m.spent, top) + Epoch(m.random()%(1<<16))<<8
	m.changed = true
}
