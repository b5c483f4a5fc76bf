package member

import (
	"crypto/sha256"
	"slices"

	"github.com/shoal-net/shoal/internal/share"
)

// States of a bucket in Effects.Table: enum bucket_state of bpf/abi.h.
const (
	foreign   = 0
	owned     = 1
	acquiring = 2
	draining  = 3
	held      = 4 // acquiring, but for UDP
)

// build makes the view that a header and its parent's table amount to, and
// fills in the header's table digest (clause T1).
func (m *Member) build(h *ViewHeader) *View {
	v := m.next(h)
	v.Table = digest(v.AppendTable(nil))
	v.Digest = digest(v.ViewHeader.AppendBinary(nil))
	return v
}

func digest(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest(sum[:])
}

// next computes a view's table from its parent's. The fewest buckets move;
// those of a node that is gone have an owner at once, those of a live one keep
// it among their old owners until a view says that it is done with them.
func (m *Member) next(h *ViewHeader) *View {
	v := &View{ViewHeader: *h, votersSince: m.now}
	v.VotersFrom = v.Epoch
	var weights [MaxNodes + 1]uint16
	for i, e := range h.Members {
		if e.State == Serving {
			weights[i+1] = e.Weight
		}
	}
	parent := m.find(h.Parent)
	if parent == nil {
		v.Owners = share.Next(make([]NodeID, m.cfg.Buckets), &weights)
		return v
	}
	if parent.Voters == h.Voters && parent.OldVoters == h.OldVoters && parent.Lineage == h.Lineage {
		v.VotersFrom, v.votersSince = parent.VotersFrom, parent.votersSince
	}
	v.Owners = share.Next(parent.Owners, &weights)
	stays := parent.live() & h.live() // one that is back at once has its flows still
	moves := parent.Moves
	for b, n := range v.Owners {
		old := Set(0)
		if len(moves) > 0 && int(moves[0].Bucket) == b {
			old, moves = moves[0].Old&^h.Done, moves[1:]
		}
		if was := parent.Owners[b]; was != 0 && was != n {
			old = old.With(was)
		}
		old &= stays
		if n != 0 {
			old = old.Without(n)
		}
		if old != 0 {
			v.Moves = append(v.Moves, Move{uint16(b), old})
			v.leavers |= old
		}
	}
	return v
}

// Grants names the leases that an echo under this view stands for: those of
// nodes that act on a view of the same lineage and voters (clause L2).
func (v *ViewHeader) Grants() uint64 {
	h := v.Lineage
	for _, x := range [...]uint64{uint64(v.Voters), uint64(v.OldVoters)} {
		h = (h ^ x) * 0x9e3779b97f4a7c15
		h ^= h >> 29
	}
	return h | 1
}

// takeOver puts the table of the view in force into effect, as far as the old
// owners have left it (clause T3).
func (m *Member) takeOver() {
	if !m.inActive() || m.state == Fenced || m.stale {
		if m.tabled != nil {
			m.tabled = nil
			clear(m.states)
			m.table()
		}
		return
	}
	if m.tabled == m.active && m.waiting == 0 && !m.drainsChanged {
		return
	}
	waiting := m.stillActing()
	if m.tabled == m.active && waiting&m.active.leavers == m.waiting && !m.drainsChanged {
		return
	}
	m.drainsChanged = false
	since, known := m.viewsSince(m.tabled)
	m.tabled, m.waiting = m.active, waiting&m.active.leavers
	m.inView = true // also if it had been outlived, and swept, under a view that came to nothing
	moves := m.active.Moves
	for b, n := range m.active.Owners {
		old := Set(0)
		if len(moves) > 0 && int(moves[0].Bucket) == b {
			old, moves = moves[0].Old, moves[1:]
		}
		// What it has and keeps, it has from owners that have left it; but not
		// what was, or may have been, another's in a view that it has not acted on.
		kept := known && !slices.ContainsFunc(since, func(v *View) bool { return v.Owners[b] != m.cfg.Self })
		m.states[b] = m.stateIn(b, n, old, waiting, m.states[b], kept)
	}
	m.table()
}

// viewsSince returns the views between one that this node acted on and the one
// in force, and whether they are known.
func (m *Member) viewsSince(v *View) (between []*View, known bool) {
	if v == nil {
		return nil, false
	}
	for at := m.active; at != v; between = append(between, at) {
		if at = m.find(at.Parent); at == nil || at.Epoch < v.Epoch {
			return nil, false
		}
		if at == v {
			break
		}
	}
	return between, true
}

// table hands the table over.
func (m *Member) table() {
	m.fx.TableSet, m.fx.TableEpoch, m.fx.Table = true, m.activeEpoch(), m.states
	if m.tabled != nil {
		m.changed, m.urgent = true, true // others wait for what it gave up
	}
}

// stillActing is the set of the live nodes that may act on an earlier view than
// the one in force here.
func (m *Member) stillActing() Set {
	waiting := Set(0)
	for left := m.livesIn(m.active) &^ m.acts; left != 0; left &= left - 1 {
		if n := left.first(); n != m.cfg.Self && !m.gone(n, m.active.Members[n-1].Incarnation) {
			waiting = waiting.With(n)
		}
	}
	return waiting
}

// stateIn is the state of a bucket here, given its owner and its old owners,
// who of all nodes may still act on an earlier view, what it was before, and
// whether it was this node's in all views since.
func (m *Member) stateIn(b int, owner NodeID, old, waiting Set, was byte, kept bool) byte {
	if owner != m.cfg.Self {
		if !old.Has(m.cfg.Self) || !m.cfg.Keep || m.given.has(b) {
			return foreign
		}
		return draining
	}
	m.given.clear(b)
	mine := kept && (was == owned || was == acquiring || was == held)
	switch {
	case !mine && old&waiting != 0 && m.cfg.Keep && was != foreign:
		return draining // it comes back, to flows that are here still
	case !mine && old&waiting != 0:
		return foreign
	case was == owned || !m.cfg.Keep:
		return owned
	case m.without(b, old) == 0:
		return owned
	case m.cfg.HoldUDP && was != acquiring && old&^m.frozen != 0:
		return held
	}
	return acquiring
}

// follow keeps account of who acts on the view in force here or on a later one,
// as they or others that heard it say. What was true once stays true.
func (m *Member) follow() {
	if m.active == nil {
		return
	}
	if m.followed != m.active {
		m.followed, m.acts = m.active, Set(0).With(m.cfg.Self)
	}
	id := m.active.ID()
	for _, n := range m.live {
		p := &m.peers[n]
		if m.active.holds(n, p.incarnation) && p.hb.Active.Epoch >= m.active.Epoch {
			m.acts = m.acts.With(n)
		}
		if p.hb.Active == id {
			m.acts |= p.hb.Acting
		}
	}
}

// acting is what this node tells others of it: without those that the view has not
// in their present incarnation, and which handle nothing under it (clause A4).
func (m *Member) acting() (s Set) {
	if m.followed != m.active {
		return 0
	}
	for left := m.acts; left != 0; left &= left - 1 {
		n := left.first()
		if i := m.incarnationOf(n); i == 0 || m.active.holds(n, i) {
			s = s.With(n)
		}
	}
	return s
}
