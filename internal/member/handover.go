package member

// A bucket that moves between live nodes keeps its old owners for as long as
// they have flows of it: they are draining it, and the new owner, acquiring it,
// takes what is new. Who is done with which bucket is told by messages of their
// own, each for one view; the next view leaves out who is done with all (clause
// T5).

// buckets is a set of buckets.
type buckets []byte

func (s buckets) has(b int) bool { return b/8 < len(s) && s[b/8]>>(b%8)&1 == 1 }

func (s buckets) clear(b int) {
	if b/8 < len(s) {
		s[b/8] &^= 1 << (b % 8)
	}
}

func (s *buckets) set(b int) {
	for len(*s) <= b/8 {
		*s = append(*s, 0)
	}
	(*s)[b/8] |= 1 << (b % 8)
}

// drainedBuckets is what an old owner said that it is done with, in a view.
type drainedBuckets struct {
	view ViewID
	done buckets
}

// Drained reports buckets of which this node has no flows left, or is to give
// them up all the same. What is not draining under the table of that epoch is
// passed over. The flows must have been counted after that table took effect.
func (m *Member) Drained(now Time, tableEpoch uint64, empty []int) {
	m.begin(now)
	if m.tabled != nil && m.tabled == m.active && tableEpoch == m.activeEpoch() {
		for _, b := range empty {
			if b < len(m.states) && m.states[b] == draining {
				m.given.set(b)
				m.drainsChanged, m.drainsSaid = true, 0
			}
		}
	}
	m.step()
}

// Frozen reports that the UDP flows that an old owner keeps are known here, for
// the view in force (clause T6).
func (m *Member) Frozen(now Time, from NodeID, view ViewID) {
	m.begin(now)
	if m.active != nil && m.active.ID() == view && !m.frozen.Has(from) {
		m.frozen = m.frozen.With(from)
		m.drainsChanged = true
	}
	m.step()
}

// Swept reports that no flows are left here of buckets that are foreign.
// Effects.Sweep asked for it.
func (m *Member) Swept(now Time, seq uint64) {
	m.begin(now)
	if seq == m.sweepSeq && m.tabled == nil {
		m.stale, m.changed = false, true
	}
	m.step()
}

// outlived notes that others go on without this node, which does not act any more:
// they answer for its flows (clause T7).
func (m *Member) outlived() {
	a := m.wanted.accepted
	if m.cfg.Keep && m.inView && m.tabled == nil && a != nil && !a.Members[m.cfg.Self-1].Live() {
		m.staleFlows()
	}
}

// staleFlows has the flows of this node destroyed before it takes part again.
func (m *Member) staleFlows() { m.inView, m.stale, m.sweptAt = false, true, 0 }

// returns notes, when a view has this node in a new incarnation, or is of another
// line, whether a view since the one that it acted on did not have it at all, or may
// not have: then it was outlived and did not hear of it (clause T7).
func (m *Member) returns(before *View, v *View) {
	for at := v; m.cfg.Keep && m.inView && at != before; {
		if at = m.find(at.Parent); at == nil || !at.Members[m.cfg.Self-1].Live() {
			m.staleFlows()
		}
	}
}

// abreast reports whether this node knows of all views of its line that others
// have accepted, as far as it hears them: one of those may have put it out.
func (m *Member) abreast() bool {
	a := m.wanted.accepted
	for _, n := range m.live {
		id := m.peers[n].hb.Accepted
		if !m.present(n) || id.Epoch <= m.acceptedEpoch() {
			continue
		}
		if v := m.find(id); v == nil || a == nil || v.Lineage == a.Lineage {
			return false
		}
	}
	return true
}

// sweep asks for the flows to be destroyed that others have answered for.
func (m *Member) sweep() {
	if !m.stale || m.tabled != nil || m.now-m.sweptAt < 1e9 && m.sweptAt != 0 {
		return
	}
	m.sweptAt = m.now
	m.sweepSeq++
	m.fx.Sweep = m.sweepSeq
}

// hearDrained takes what an old owner says that it is done with.
func (m *Member) hearDrained(n NodeID, d *Drained) {
	p := &m.peers[n]
	if p.drained.view != d.View {
		p.drained = drainedBuckets{view: d.View}
	}
	for i := range len(d.Bits) * 8 {
		if buckets(d.Bits).has(i) && !p.drained.done.has(int(d.From)+i) {
			p.drained.done.set(int(d.From) + i)
			m.drainsChanged = true
		}
	}
}

// doneWith is the set of buckets that a node is done with, in the view in force.
func (m *Member) doneWith(n NodeID) buckets {
	if n == m.cfg.Self {
		return m.given
	}
	if d := &m.peers[n].drained; m.active != nil && d.view == m.active.ID() {
		return d.done
	}
	return nil
}

// without returns those of a bucket's old owners that are not done with it.
func (m *Member) without(b int, old Set) Set {
	for left := old; left != 0; left &= left - 1 {
		if n := left.first(); m.doneWith(n).has(b) {
			old = old.Without(n)
		}
	}
	return old
}

// drained reports whether an old owner is done with all that a view's moves
// have of it.
func (m *Member) drained(n NodeID, v *View) bool {
	if v != m.active {
		return false
	}
	done := m.doneWith(n)
	for _, move := range v.Moves {
		if move.Old.Has(n) && !done.has(int(move.Bucket)) {
			return false
		}
	}
	return true
}

// tellDrained says, and repeats, what this node is done with.
func (m *Member) tellDrained() {
	if m.active == nil || m.tabled != m.active || !m.active.leavers.Has(m.cfg.Self) || len(m.given) == 0 ||
		m.drainsSaid != 0 && m.now-m.drainsSaid < 5*m.cfg.Interval {
		return
	}
	m.drainsSaid = m.now
	for from := 0; from < len(m.given); from += ChunkSize {
		bits := m.given[from:min(from+ChunkSize, len(m.given))]
		m.send(&Message{From: m.cfg.Self, Incarnation: m.incarnation,
			Body: &Drained{View: m.active.ID(), From: uint16(from * 8), Bits: append([]byte(nil), bits...)}})
	}
}
