package member

// pace is how many messages may follow each other in an interval when there is
// much to say.
const pace = 40

// speak sends the heartbeat when it is due, and at once when something
// changed that others act on (clause M2).
func (m *Member) speak() {
	// A word in the midst of what came during a pause would echo old stamps,
	// and the next one is an interval away.
	if m.mute() || m.left || m.impostor() || m.reading {
		return
	}
	due := m.now >= m.nextSend
	if !due && !m.urgent && (!m.changed || m.now < m.sent+m.cfg.Interval/pace) {
		return
	}
	m.changed, m.urgent = false, false
	m.heartbeat()
	m.send(m.beatMessage())
	m.nextSend = m.now + m.cfg.Interval
	if due {
		m.catchUp()
	}
}

func (m *Member) beatMessage() *Message {
	m.beat = Message{From: m.cfg.Self, Incarnation: m.incarnation, Body: &m.body}
	return &m.beat
}

func (m *Member) send(msg *Message) {
	m.fx.Sends = append(m.fx.Sends, Send{0xff, msg})
}

// heartbeat fills in what this node has to say. Only what is on disk counts as
// promised and accepted (clause R1).
func (m *Member) heartbeat() {
	m.sent = max(m.now, m.sent+1)
	echoes := m.body.Echoes
	m.body = Heartbeat{
		Previous: m.previous, Sent: m.sent, State: m.state, Fit: m.state == Joining && m.fit(),
		Amnesiac: m.forgot && m.durable.accepted == nil || m.amnesiac,
		Alone:    m.warns(),
		Listed:   m.cfg.Listed, Settings: m.cfg.Settings, Carrier: m.carrier, Weight: m.cfg.Weight, Limit: m.limit, Order: m.order,
		Suspects: m.suspects(), Promised: m.durable.promised, LeaseLeft: max(0, m.deadline-m.now),
		Lateness: m.lateness, Echoes: echoes,
	}
	if a := m.durable.accepted; a != nil {
		m.body.Accepted, m.body.Ended = a.ID(), m.ended(a)
	}
	if a := m.wanted.accepted; a != nil && m.voting() {
		m.body.Grants = a.Grants()
	}
	if m.active != nil {
		m.body.Active, m.body.Lineage, m.body.Acting = m.active.ID(), m.active.Lineage, m.acting()
	}
	opposed := m.opposed() // whom it would grant a lease may not hear that node (clause A4)
	for n := range m.met() {
		m.body.Echoes[n-1] = m.echo(n)
		if m.grants(n, m.body.Echoes[n-1].Incarnation) && !opposed {
			m.body.Granted = m.body.Granted.With(n)
		}
	}
	m.body.Echoes[m.cfg.Self-1] = m.rival
}

// ended is the set of a view's live nodes that have ended, as far as this node
// has met their words itself.
func (m *Member) ended(v *View) (s Set) {
	for left := m.livesIn(v); left != 0; left &= left - 1 {
		if n := left.first(); m.ownWord(n, v.Members[n-1].Incarnation) {
			s = s.With(n)
		}
	}
	return s
}

// grants reports whether an echo extends the lease of an incarnation: only if
// it lives in the view that this node has accepted (clause L5), and has proved
// itself (clause L3).
func (m *Member) grants(n NodeID, i Incarnation) bool {
	a, p := m.wanted.accepted, &m.peers[n]
	return a != nil && m.voting() && a.holds(n, i) && i == p.incarnation && p.shunned == 0
}

// echo is what this node last heard of another: with it a new incarnation can
// prove itself.
func (m *Member) echo(n NodeID) Echo {
	p := &m.peers[n]
	e := Echo{Incarnation: p.incarnation, Sent: p.hb.Sent, Heard: m.heardOn(p)}
	if p.incarnation == 0 || p.candidate != 0 && p.candArrived > p.arrived {
		e = Echo{Incarnation: p.candidate, Sent: p.candSent}
	}
	return e
}

// heardOn returns the interfaces on which a node was heard of late.
func (m *Member) heardOn(p *peer) (on uint8) {
	for i := range m.cfg.Interfaces {
		if p.heard[i] != 0 && m.now-p.heard[i] < m.patience() {
			on |= 1 << i
		}
	}
	return on
}

func (m *Member) suspects() (s Set) {
	all, lives := m.voters()|m.cfg.Listed, Set(0)
	if a := m.wanted.accepted; a != nil {
		lives = m.livesIn(a)
	}
	for left := (all | lives).Without(m.cfg.Self); left != 0; left &= left - 1 {
		n := left.first()
		if m.silent(n) && (lives.Has(n) || m.silence(n) >= m.patience()) {
			s = s.With(n)
		}
	}
	return s
}

// accuse says at once whom this node has come to suspect, and whom it hears on
// an interface no more: the others wait for such words.
func (m *Member) accuse() {
	if s := m.suspects(); s != m.body.Suspects {
		m.changed = true
	}
	for _, n := range m.live {
		if said := m.body.Echoes[n-1].Heard; said&^m.heardOn(&m.peers[n]) != 0 {
			m.changed = true
		}
	}
}

// catchUp shows the newest views to those that lag behind: whoever proposed a
// view does, and the first in rank if that one is away or it takes too long.
func (m *Member) catchUp() {
	for i, v := range [...]*View{m.wanted.accepted, m.active} {
		if v == nil || i == 1 && v == m.wanted.accepted {
			continue
		}
		if !m.lags(v) {
			m.pushedAt[i] = m.now
			continue
		}
		by := v.Epoch.Proposer()
		if by == m.cfg.Self || m.rank() == 0 && !m.present(by) || m.now-m.pushedAt[i] > 3*m.cfg.Interval {
			m.push(v)
		}
	}
	m.warn()
}

// confront shows a node at once that serves in an earlier view of another line the
// view that it has to give way to: neither of two that serve renews its lease before
// one of them has given way, and the other knows (clauses A4, A5).
func (m *Member) confront(n NodeID) {
	p := &m.peers[n]
	if v := m.active; m.serves() && m.opposes(m.servedLineage(n, &p.hb)) && max(p.hb.Accepted.Epoch, p.hb.Active.Epoch) < v.Epoch && m.now-p.shown >= m.cfg.Interval/2 {
		p.shown = m.now
		m.push(v)
	}
}

// prove answers the first echo of a node that does not believe yet that this one
// lives at once: it then can (clause M3).
func (m *Member) prove(n NodeID) {
	p := &m.peers[n]
	if e := &p.hb.Echoes[m.cfg.Self-1]; e.Incarnation == m.incarnation && e.Heard == 0 && p.provedAs != m.incarnation {
		p.provedAs, m.changed = m.incarnation, true
	}
}

// warn shows a view that this node will not accept to those whom it puts out:
// they give way (clause S5), also where the proposer cannot reach them.
func (m *Member) warn() {
	a := m.wanted.accepted
	if a == nil {
		return
	}
	for _, v := range m.known {
		if v.Epoch <= a.Epoch || v.Lineage != a.Lineage {
			continue
		}
		for _, n := range m.live {
			if i := m.peers[n].incarnation; m.present(n) && a.holds(n, i) && !v.holds(n, i) {
				m.push(v)
				break
			}
		}
	}
}

func (m *Member) lags(v *View) bool {
	for _, n := range m.live {
		if m.present(n) && !m.peers[n].has(v) {
			return true
		}
	}
	return false
}

// assists reports whether it is for this node to show a view to one that was promised
// a ballot, has not got that view, and has to build on it: the view's proposer is
// away, and this node is the first of the voters that have it (clause V5).
func (m *Member) assists(n NodeID, v *View) bool {
	if by := v.Epoch.Proposer(); by == m.cfg.Self || m.present(by) || m.peers[n].has(v) {
		return false
	}
	voters := m.voters()
	for _, o := range m.live {
		if o < m.cfg.Self && voters.Has(o) && m.attends(o) && m.peers[o].has(v) {
			return false
		}
	}
	return true
}

// has reports whether a node says that it has a view, or a later one.
func (p *peer) has(v *View) bool {
	return p.hb.Accepted.Epoch >= v.Epoch || p.hb.Active.Epoch >= v.Epoch
}

// relays reports whether it is for this node to show a view to one that does
// not hear its proposer: it is the first of those that one hears.
func (m *Member) relays(v *View) bool {
	by := v.Epoch.Proposer()
	for _, n := range m.live {
		p := &m.peers[n]
		if n == by || !m.present(n) || p.hb.Accepted.Epoch >= v.Epoch || p.hb.Echoes[by-1].Heard != 0 || p.hb.Echoes[m.cfg.Self-1].Heard == 0 {
			continue
		}
		first := true
		for _, o := range m.live {
			first = first && (o == by || o > m.cfg.Self || !m.hears(o) || p.hb.Echoes[o-1].Heard == 0)
		}
		if first {
			return true
		}
	}
	return false
}

// push shows a view to all.
func (m *Member) push(v *View) {
	m.send(&Message{From: m.cfg.Self, Incarnation: m.incarnation, Body: &v.ViewHeader})
}

// store asks for what is to be remembered, one thing at a time.
func (m *Member) store() {
	if m.amnesiac || m.wanted == m.durable || m.wanted == m.storing || m.storing != m.durable {
		return // a process that starts again before this one has recovered has no memory, either (clause R3)
	}
	m.storing = m.wanted
	m.storeSeq++
	m.fx.Store = &Stored{m.wanted.promised, m.wanted.accepted}
	m.fx.StoreSeq = m.storeSeq
}
