package member

// Leave asks the member to hand its buckets over and go. Effects.Left says
// when it has.
func (m *Member) Leave(now Time) {
	m.begin(now)
	if m.leaveBy == 0 {
		m.leaveBy = m.now + max(10*m.cfg.Lease, 1e9)
		m.changed = true
	}
	m.step()
}

// Fence makes the member give up what it serves, at once, say so, and stay out
// of views until Resume.
func (m *Member) Fence(now Time, reason string) {
	m.begin(now)
	m.held = reason
	if m.serves() {
		m.fence(reason)
	}
	m.step()
}

// Withdraw is Fence for a node that could go on for a while: the others take its
// buckets over first, if they do so within L.
func (m *Member) Withdraw(now Time, reason string) {
	m.begin(now)
	if m.held == "" {
		m.held, m.heldAt = reason, m.now
	}
	m.step()
}

// Resume ends what Fence or Withdraw began.
func (m *Member) Resume(now Time) {
	m.begin(now)
	m.held = ""
	m.changed = true
	m.step()
}

// goOrStay has a node that serves say that it leaves, while it is to (clause S6).
func (m *Member) goOrStay() {
	if !m.serves() {
		return
	}
	state := m.active.Members[m.cfg.Self-1].State
	if m.held != "" || m.leaveBy != 0 {
		state = Leaving
	}
	if state != m.state {
		m.state, m.changed = state, true
	}
}

// letGo gives up what the others have taken over, or will not in time.
func (m *Member) letGo() {
	if !m.serves() || m.state != Leaving {
		return
	}
	why, late := "the others have taken them over", false
	switch {
	case m.held != "":
		why, late = m.held, m.now >= m.heldAt+m.cfg.Lease || m.heardSet() == 0
	case m.leaveBy != 0:
		why, late = "leaves", m.now >= m.leaveBy || m.heardSet() == 0
	case !m.cfg.Listed.Has(m.cfg.Self):
		why = "it is in the files no more"
	}
	if late || m.handedOver() {
		m.fence(why)
	}
}

// depart goes when asked to: buckets first, then the seat in the view, and
// with partition: available the vote (clause S6).
func (m *Member) depart() {
	m.letGo()
	if m.leaveBy == 0 || m.left || m.serves() {
		return
	}
	if m.state == Joining {
		m.state = Fenced
		m.changed = true
	}
	out := m.active == nil || !m.active.Members[m.cfg.Self-1].Live() && !(m.cfg.Available && (m.active.Voters|m.active.OldVoters).Has(m.cfg.Self))
	if m.now >= m.leaveBy || out || m.heardSet() == 0 {
		m.speakLast()
		m.left, m.fx.Left = true, true
	}
}

// handedOver reports whether the view in force has this node leaving, so that
// its table is empty; the others know when they hear that it acts on it.
func (m *Member) handedOver() bool {
	return m.active != nil && m.active.Members[m.cfg.Self-1].State == Leaving && m.tabled == m.active
}

// speakLast says goodbye, even if nothing else may be said yet.
func (m *Member) speakLast() {
	if !m.mute() {
		m.heartbeat()
		m.send(m.beatMessage())
	}
}
