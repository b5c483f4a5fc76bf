package member

import "time"

// Status is what a member knows, for people and other programs.
type Status struct {
	Self        NodeID
	State       State
	Held        string // why the node stays out of views
	View        *View  // in force here; nil: none yet
	ViewSince   Time   // this node's clock
	Accepted    ViewID
	Coordinator NodeID
	Voting      bool
	VotingSince Time          // this node's clock
	Amnesiac    bool          // waits for others before it votes
	LeaseLeft   time.Duration // ≤ 0: none
	Limit       uint16        // the largest weight that this node's health allows
	OwnID       bool          // another host used this node's id within the last minute
	Waiting     Set           // old owners that keep buckets from this node
	Peers       []PeerStatus  // by id
}

// PeerStatus is what a member knows of another node.
type PeerStatus struct {
	ID        NodeID
	Proved    bool // has shown that it is alive
	Present   bool
	State     State
	Heard     [MaxInterfaces]time.Duration // since it was last heard, by interface; negative: never
	TwoWay    uint8                        // interfaces on which both hear each other
	LeaseLeft time.Duration                // as it said last
	Lateness  time.Duration                // as it said last
	Limit     uint16                       // the largest weight that its health allows, as it said last
	Active    ViewID
	Listed    Set
	Carrier   uint8
	Differs   []int // indexes of settings
	Duplicate bool  // two hosts used its id within the last minute
}

// Status describes the member at a time.
func (m *Member) Status(now Time) Status {
	now = max(now, m.now)
	s := Status{
		Self: m.cfg.Self, State: m.state, Held: m.held, View: m.active, ViewSince: m.activeSince,
		Coordinator: m.coordinator(), Voting: m.voting(), VotingSince: max(m.recovered, m.started+m.patience(), m.stillUntil), Amnesiac: m.amnesiac,
		LeaseLeft: m.deadline - now, Waiting: m.waiting, Limit: m.limit,
		OwnID: m.ownID != 0 && now-m.ownID < time.Minute,
	}
	if a := m.wanted.accepted; a != nil {
		s.Accepted = a.ID()
	}
	for n := NodeID(1); n <= MaxNodes; n++ {
		if n != m.cfg.Self && (m.cfg.Listed.Has(n) || m.voters().Has(n) || m.everMember(n)) {
			s.Peers = append(s.Peers, m.peerStatus(n, now))
		}
	}
	return s
}

func (m *Member) peerStatus(n NodeID, now Time) PeerStatus {
	p := &m.peers[n]
	s := PeerStatus{
		ID: n, Proved: p.incarnation != 0, Present: m.present(n), State: p.hb.State,
		LeaseLeft: p.hb.LeaseLeft - (now - p.arrived), Lateness: p.hb.Lateness, Limit: p.hb.Limit, Active: p.hb.Active,
		Listed: p.hb.Listed, Carrier: p.hb.Carrier, Differs: m.Different(n),
		Duplicate: p.duplicate != 0 && now-p.duplicate < time.Minute,
	}
	if m.hears(n) {
		s.TwoWay = m.twoWay(n)
	}
	for i := range s.Heard {
		s.Heard[i] = -1
		if p.heard[i] != 0 {
			s.Heard[i] = now - p.heard[i]
		}
	}
	return s
}

// Moving counts, by node, the buckets of the view in force that it is draining
// and those that it is acquiring, and in all those that move: old owners have
// not said that they are done with them.
func (m *Member) Moving() (draining, acquiring [MaxNodes + 1]int, all int) {
	if m.active == nil {
		return
	}
	done := Set(0)
	if !m.cfg.Keep && m.followed == m.active {
		done = m.acts // who gives flows up is done when it acts on the view
	}
	for _, move := range m.active.Moves {
		old := m.without(int(move.Bucket), move.Old&^done)
		if old == 0 {
			continue
		}
		all++
		acquiring[m.active.Owners[move.Bucket]]++
		for ; old != 0; old &= old - 1 {
			draining[old.first()]++
		}
	}
	return
}
