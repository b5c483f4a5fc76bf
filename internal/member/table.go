package member

import (
	"crypto/sha256"

	"github.com/shoal-net/shoal/internal/share"
)

// States of a bucket in Effects.Table: enum bucket_state of bpf/abi.h.
const (
	foreign = 0
	owned   = 1
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
// it among their old owners until it acts on this view, too.
func (m *Member) next(h *ViewHeader) *View {
	v := &View{ViewHeader: *h, votersSince: m.now}
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
		v.votersSince = parent.votersSince
	}
	v.Owners = share.Next(parent.Owners, &weights)
	stays := Set(0) // live in both, in the same incarnation
	for i, e := range parent.Members {
		if e.Live() && h.holds(NodeID(i+1), e.Incarnation) {
			stays = stays.With(NodeID(i + 1))
		}
	}
	moves := parent.Moves
	if h.Settled {
		moves = nil
	}
	for b, n := range v.Owners {
		old := Set(0)
		if len(moves) > 0 && int(moves[0].Bucket) == b {
			old, moves = moves[0].Old, moves[1:]
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
	if !m.inActive() || m.state == Fenced {
		if m.tabled != nil {
			m.tabled = nil
			clear(m.states)
			m.fx.TableSet, m.fx.TableEpoch, m.fx.Table = true, m.activeEpoch(), m.states
		}
		return
	}
	if m.tabled == m.active && m.waiting == 0 {
		return
	}
	waiting := Set(0)
	for i, e := range m.active.Members {
		if n := NodeID(i + 1); e.Live() && n != m.cfg.Self && !m.acts.Has(n) && !m.gone(n, e.Incarnation) {
			waiting = waiting.With(n)
		}
	}
	if m.tabled == m.active && waiting == m.waiting {
		return
	}
	// What it has and keeps, it has from owners that have left it.
	keeps := m.tabled != nil && m.tabled.Lineage == m.active.Lineage
	m.tabled, m.waiting = m.active, 0
	moves := m.active.Moves
	for b, n := range m.active.Owners {
		old := Set(0)
		if len(moves) > 0 && int(moves[0].Bucket) == b {
			old, moves = moves[0].Old, moves[1:]
		}
		switch {
		case n != m.cfg.Self:
			m.states[b] = foreign
		case old&waiting == 0 || keeps && m.states[b] == owned:
			m.states[b] = owned
		default:
			m.states[b] = foreign
			m.waiting |= old & waiting
		}
	}
	m.fx.TableSet, m.fx.TableEpoch, m.fx.Table = true, uint64(m.active.Epoch), m.states
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

// acting is what this node tells others of it.
func (m *Member) acting() Set {
	if m.followed != m.active {
		return 0
	}
	return m.acts
}
