package member

import "slices"

// peer is what is known of another node.
type peer struct {
	incarnation Incarnation // 0: none has proved to be alive
	past        [4]Incarnation
	candidate   Incarnation // heard, but has not echoed this node yet
	candMet     Time        // when it was heard first
	candSent    Time
	candArrived Time
	candLineage uint64              // of the views that it serves in; 0: none
	candListed  Set                 // nodes in its file
	candKnows   bool                // it has accepted a view
	warnedAt    Time                // when it last warned that it may go on alone …
	warnedAs    Incarnation         // … as which incarnation …
	warnedSent  Time                // … and when that sent the last such word
	hb          Heartbeat           // the newest of incarnation
	met         Time                // when it proved to be alive, or was heard again after P
	arrived     Time                // of hb, this node's clock
	heard       [MaxInterfaces]Time // newest arrival by interface, this node's clock
	stamps      [MaxInterfaces]Time // newest Sent by interface, the peer's clock
	echoed      Time                // newest stamp of this node's that it ever echoed
	shown       Time                // when it was shown the view that it has to give way to
	provedAs    Incarnation         // of this node that was proved to it
	fresh       Time                // newest stamp that the present incarnation echoed …
	grant       Time                // … and with which it granted a lease …
	grantOf     uint64              // … of which kind
	mismatch    bool                // its settings differ
	rival       Time                // when another incarnation spoke while this one lived
	duplicate   Time                // when this one spoke again after its rival: two hosts, one id
	since       Time                // of its present state, as heard here
	shunned     Time                // since when it is granted no lease, though it is heard: see shun
	listed      Incarnation         // in the view accepted last …
	listedAt    Time                // … and since when this node has known that
	drained     drainedBuckets
}

// Verdict says what became of a message: for counters and logs.
type Verdict uint8

// The verdicts.
const (
	Taken       Verdict = iota
	Unproved            // the first of an incarnation that has not echoed this node: not used yet
	Stale               // older than what was heard: late, repeated, replayed
	Unlisted            // from a node that is in neither the file nor the view
	OwnID               // another host uses this node's id
	DuplicateID         // another incarnation of the sender lives: two hosts with one id, if it lasts
	Different           // its settings differ: see Member.Different
)

// Receive takes a message that arrived on an interface at a time of this
// node's clock.
func (m *Member) Receive(now, arrived Time, iface int, msg *Message) Verdict {
	m.begin(now)
	if msg.From == m.cfg.Self {
		return m.hearSelf(msg)
	}
	if !m.cfg.Listed.Has(msg.From) && !m.matters(msg.From) {
		return Unlisted
	}
	v := Taken
	switch body := msg.Body.(type) {
	case *Heartbeat:
		v = m.hear(arrived, iface, msg, body)
		if v != Taken {
			return v
		}
	case *ViewHeader:
		m.stirred = true
		// What it says is checked by its digest, whoever sends it; but only
		// who lives can make this node give way.
		m.offer(msg.From, body, m.peers[msg.From].incarnation == msg.Incarnation)
	case *Fetch:
		m.answer(msg.From, body)
		return Taken
	case *Chunk:
		m.stirred = true
		m.collect(msg.From, body)
	case *Drained:
		if m.peers[msg.From].incarnation != msg.Incarnation {
			return Unproved
		}
		m.hearDrained(msg.From, body)
		m.stirred = m.drainsChanged
	case *FlowFetch, *FlowChunk:
		if m.peers[msg.From].incarnation != msg.Incarnation {
			return Unproved
		}
		return Taken
	}
	if m.stirred || m.now >= m.nextSend {
		m.step()
	} else {
		m.renew()
		m.speak()
	}
	return v
}

// news reports whether a heartbeat says something that the one before did not.
func (m *Member) news(a, b *Heartbeat) bool {
	if a.State != b.State || a.Fit != b.Fit || a.Amnesiac != b.Amnesiac || a.Listed != b.Listed ||
		a.Suspects != b.Suspects || a.Weight != b.Weight || a.Limit != b.Limit || a.Order != b.Order || a.Promised != b.Promised ||
		a.Accepted != b.Accepted || a.Ended != b.Ended || a.Active != b.Active || a.Acting != b.Acting || a.Alone != b.Alone || a.Carrier != b.Carrier {
		return true
	}
	for _, n := range m.live {
		if x, y := &a.Echoes[n-1], &b.Echoes[n-1]; x.Incarnation != y.Incarnation || x.Heard != y.Heard {
			return true
		}
	}
	x, y := &a.Echoes[m.cfg.Self-1], &b.Echoes[m.cfg.Self-1]
	return x.Incarnation != y.Incarnation || x.Heard != y.Heard
}

// matters reports whether a node that may not be in the file has to be heard:
// it was in the view, or is a voter of one that is known here.
func (m *Member) matters(n NodeID) bool {
	if m.everMember(n) {
		return true
	}
	for _, v := range m.known {
		if v.Voters.Has(n) || v.OldVoters.Has(n) {
			return true
		}
	}
	return false
}

func (m *Member) everMember(n NodeID) bool {
	a := m.wanted.accepted
	return a != nil && a.Members[n-1].Incarnation != 0
}

// hearSelf takes a message that bears this node's own id. If another host
// sends such, the two prove to each other that they live, as others do, in the
// echo of their common id. The one in a later view, or with the higher
// incarnation where neither is in one, keeps the id; the other keeps still
// (clause M4).
func (m *Member) hearSelf(msg *Message) Verdict {
	hb, ok := msg.Body.(*Heartbeat)
	if !ok || msg.Incarnation == m.incarnation || msg.Incarnation == m.previous || msg.Incarnation == m.ownPast {
		return Stale
	}
	if m.rival.Incarnation != msg.Incarnation {
		m.changed = true
	}
	m.rival = Echo{Incarnation: msg.Incarnation, Sent: hb.Sent}
	e := hb.Echoes[m.cfg.Self-1]
	if e.Incarnation != m.incarnation || e.Sent > m.sent || m.now-e.Sent >= m.cfg.Lease {
		m.speak()
		return Unproved
	}
	if m.serves() {
		if serving(hb.State) && hb.Active.Epoch > Epoch(m.activeEpoch()) {
			m.fence("another host with its id is in a later view")
		}
	}
	if !m.serves() && (serving(hb.State) || msg.Incarnation > m.incarnation) {
		m.stillUntil = m.now + 10*m.cfg.Lease
	}
	m.ownID = m.now
	m.step()
	return OwnID
}

// impostor reports whether another host has this node's id and keeps it.
func (m *Member) impostor() bool { return m.now < m.stillUntil }

// hear takes a heartbeat.
func (m *Member) hear(arrived Time, iface int, msg *Message, hb *Heartbeat) Verdict {
	p := &m.peers[msg.From]
	if p.buried(msg.Incarnation) {
		return Stale
	}
	if m.doubles(p, msg, hb) {
		p.rival = m.now
		return DuplicateID
	}
	if hb.Alone && m.cfg.Available && !p.outdated(msg.Incarnation, hb.Sent) {
		p.warnedAt, p.warnedAs, p.warnedSent = arrived, msg.Incarnation, hb.Sent
	}
	if p.warnedAt == arrived || m.opposes(m.servedLineage(msg.From, hb)) {
		m.rivalAt = m.now
	}
	fresh := false
	if msg.Incarnation != p.incarnation {
		if v := m.greet(p, arrived, msg, hb); v != Taken {
			return v
		}
		m.note(msg.From)
		fresh = true
	} else if iface < MaxInterfaces && hb.Sent > p.stamps[iface] {
		if arrived-p.arrived >= m.patience() {
			p.met = m.now // what it echoed meanwhile did not arrive
		}
		if p.rival != 0 && m.now-p.rival < 1e9 {
			p.duplicate, p.rival = m.now, 0
		}
		p.stamps[iface], p.heard[iface] = hb.Sent, arrived
	}
	if !fresh && hb.Sent <= p.hb.Sent {
		return Stale
	}
	if fresh && iface < MaxInterfaces {
		p.stamps[iface], p.heard[iface] = hb.Sent, arrived
	}
	p.mismatch = !m.agrees(hb.Settings)
	p.arrived = max(p.arrived, arrived)
	if p.mismatch {
		p.hb.Settings, p.hb.Sent = hb.Settings, hb.Sent
		return Different
	}
	if fresh || m.news(&p.hb, hb) {
		m.stirred = true
	}
	if fresh || hb.State != p.hb.State {
		p.since = m.now
	}
	p.hb = *hb
	if !hb.Alone && msg.Incarnation == p.warnedAs && hb.Sent > p.warnedSent {
		p.warnedAt = 0 // taken back (clause A4)
	}
	m.confront(msg.From)
	m.prove(msg.From)
	if e := hb.Echoes[m.cfg.Self-1]; e.Incarnation == m.incarnation && e.Sent <= m.sent {
		p.echoed, p.fresh = max(p.echoed, e.Sent), max(p.fresh, e.Sent)
		// A grant counts for the leases that the echoer stands for (clause L2).
		if hb.Granted.Has(m.cfg.Self) && (hb.Grants != p.grantOf || e.Sent > p.grant) {
			p.grant, p.grantOf = e.Sent, hb.Grants
		}
	}
	return Taken
}

// outdated reports whether something later has been heard than what an incarnation
// sent at a time.
func (p *peer) outdated(i Incarnation, sent Time) bool {
	return i == p.incarnation && sent <= p.hb.Sent || i == p.candidate && sent <= p.candSent
}

// doubles reports whether another incarnation of the sender lives, which this one
// does not replace: a recording, or two hosts with one id. What it says harms nobody.
func (m *Member) doubles(p *peer, msg *Message, hb *Heartbeat) bool {
	alive := p.incarnation != 0 && m.now-p.arrived < m.patience()
	return alive && msg.Incarnation != p.incarnation && hb.Previous != p.incarnation && p.hb.State != Fenced
}

// greet decides whether a new incarnation is to be believed: only one that
// echoes what this node sent less than a lease ago, and later than anything
// echoed before, is alive and no recording (clause M3). A process that takes
// the place of another keeps still for longer than that (R2), so what greets
// here came after what was known, or says whom it replaces.
func (m *Member) greet(p *peer, arrived Time, msg *Message, hb *Heartbeat) Verdict {
	e := hb.Echoes[m.cfg.Self-1]
	if e.Incarnation != m.incarnation || e.Sent <= p.echoed || e.Sent > m.sent || m.now-e.Sent >= m.cfg.Lease {
		if p.candidate != msg.Incarnation || hb.Sent > p.candSent {
			if p.candidate != msg.Incarnation {
				m.stranger(msg.From)
				p.candMet = m.now
				m.changed = true // echo it soon, so that it can prove itself
			}
			p.candidate, p.candSent, p.candArrived = msg.Incarnation, hb.Sent, arrived
			p.candLineage, p.candKnows, p.candListed = m.servedLineage(msg.From, hb), hb.Accepted.Epoch != 0, hb.Listed
		}
		return Unproved
	}
	p.bury(p.incarnation)
	p.bury(hb.Previous)
	*p = peer{incarnation: msg.Incarnation, met: m.now, past: p.past, echoed: p.echoed, arrived: arrived,
		listed: p.listed, listedAt: p.listedAt, warnedAt: p.warnedAt, warnedAs: p.warnedAs, warnedSent: p.warnedSent}
	m.changed = true
	return Taken
}

// bury notes an incarnation that has ended.
func (p *peer) bury(i Incarnation) {
	if i != 0 && !p.buried(i) {
		copy(p.past[1:], p.past[:])
		p.past[0] = i
	}
}

func (p *peer) buried(i Incarnation) bool {
	for _, o := range p.past {
		if o == i {
			return true
		}
	}
	return false
}

// note lists a node among those that proved to be alive.
func (m *Member) note(n NodeID) {
	if !slices.Contains(m.live, n) {
		m.live = append(m.live, n)
		slices.Sort(m.live)
		m.strangers = slices.DeleteFunc(m.strangers, func(o NodeID) bool { return o == n })
	}
}

// stranger lists a node among those that have yet to prove it.
func (m *Member) stranger(n NodeID) {
	if !slices.Contains(m.live, n) && !slices.Contains(m.strangers, n) {
		m.strangers = append(m.strangers, n)
	}
}

// agrees compares settings. A setting that one side does not know (0) is not
// compared: the next version may have more.
func (m *Member) agrees(s Settings) bool {
	for i, d := range s {
		if d != 0 && m.cfg.Settings[i] != 0 && d != m.cfg.Settings[i] {
			return false
		}
	}
	return true
}

// Different returns the indexes of the settings in which a node differs.
func (m *Member) Different(n NodeID) (indexes []int) {
	for i, d := range m.peers[n].hb.Settings {
		if d != 0 && m.cfg.Settings[i] != 0 && d != m.cfg.Settings[i] {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

// silence is how long nothing at all has come from a node, proved or not.
func (m *Member) silence(n NodeID) Time { return m.now - max(m.lastWord(n), m.started) }

// ungranted is for how long this node has not heard what it could have granted
// a lease with: a heartbeat of the incarnation in the view accepted last, after
// that had proved itself (clause L3). One that this node has not met was granted
// nothing since it started; what may have been before counts as heard then
// (clause R2).
func (m *Member) ungranted(n NodeID) Time {
	p, a := &m.peers[n], m.wanted.accepted
	if p.shunned != 0 {
		return m.now - p.shunned
	}
	if a == nil {
		return m.silence(n)
	}
	last := m.started
	if i := a.Members[n-1].Incarnation; i != 0 && i == p.incarnation {
		last = max(last, p.arrived)
	}
	return m.now - last
}

// silent reports whether a lease that this node granted to n is over by any
// clock (clause L3).
func (m *Member) silent(n NodeID) bool {
	return m.ungranted(n) >= m.patience() && m.now >= m.graceUntil
}

// quiet is the silence after which a node is not counted on, though not yet
// accused: another prepares to act in its place (clause V5).
func (m *Member) quiet() Time { return m.cfg.Lease * 6 / 10 }

// hears reports whether a node was proved alive and heard of late.
func (m *Member) hears(n NodeID) bool {
	p := &m.peers[n]
	return p.incarnation != 0 && !p.mismatch && m.now-p.arrived < m.patience()
}

// present reports whether a node may be counted on now.
func (m *Member) present(n NodeID) bool {
	return m.hears(n) && m.now-m.peers[n].arrived < m.quiet()
}

// attends reports whether a node may be counted on to follow this one now: it
// has echoed what was sent of late. One that is deaf is present, too. An echo is
// up to an interval older than the heartbeat that brings it.
func (m *Member) attends(n NodeID) bool {
	return m.present(n) && m.now-m.peers[n].echoed < m.quiet()+m.cfg.Interval
}

// around reports whether anything of a node was heard of late, proved or not.
func (m *Member) around(n NodeID) bool { return m.silence(n) < m.quiet() }
