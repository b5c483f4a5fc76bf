package member

import (
	"encoding/json"
	"fmt"
)

// snapshotFormat grows when a snapshot of before cannot be gone on with.
const snapshotFormat = 2

// snapshot is a member as it passes from one process to the next of the same
// node (clause R4). Only what the next one cannot hear again within an
// interval is in it.
type snapshot struct {
	Format                int // snapshotFormat
	Started, BornAt, Sent Time
	Incarnation, Previous Incarnation
	State                 State
	Amnesiac, Forgot      bool
	Promised, Spent       Epoch
	Accepted, Active      *View
	ActiveSince, Deadline Time
	FencedSince, UnfitAt  Time
	RivalAt, Heeds        Time
	AloneAt               Time
	Tabled                *View   // nil: no table is in effect
	VotersSince           [3]Time // of these three: View.votersSince
	States                []uint8 // the table
	Frozen                Set
	Stale, InView         bool
	Given                 []byte
	Order                 Order
	Limit                 uint16
	Peers                 map[NodeID]peerSnapshot
}

type peerSnapshot struct {
	Incarnation Incarnation
	Past        [4]Incarnation
	Heartbeat   Heartbeat
	Arrived     Time
	Heard       [MaxInterfaces]Time
	Stamps      [MaxInterfaces]Time
	Echoed      Time
	Fresh       Time
	Grant       Time
	GrantOf     uint64
	Listed      Incarnation
	ListedAt    Time
}

// Snapshot returns the member for Restore. The member must not be used
// afterwards: it would speak in the same incarnation as the restored one. It
// fails while something that was promised is not on disk.
func (m *Member) Snapshot() ([]byte, error) {
	if m.durable != m.wanted && !m.amnesiac {
		return nil, fmt.Errorf("the latest votes are not on disk yet")
	}
	s := snapshot{
		Format: snapshotFormat, Started: m.started, BornAt: m.bornAt, Sent: m.sent,
		Incarnation: m.incarnation, Previous: m.previous, State: m.state,
		Amnesiac: m.amnesiac, Forgot: m.forgot, Promised: m.durable.promised, Spent: m.spent,
		Accepted: m.durable.accepted, Active: m.active, ActiveSince: m.activeSince, Deadline: m.deadline,
		Tabled: m.tabled, States: m.states, Frozen: m.frozen,
		Stale: m.stale, InView: m.inView, Given: m.given, Order: m.order, Limit: m.limit,
		FencedSince: m.fencedSince, UnfitAt: m.unfitAt, RivalAt: m.rivalAt, AloneAt: m.aloneAt, Peers: map[NodeID]peerSnapshot{},
	}
	if m.active != nil && m.rivalled() { // else the next one warns, before it goes on alone
		s.Heeds = m.rivalAt + m.patience()
	}
	for i, v := range []*View{s.Accepted, s.Active, s.Tabled} {
		if v != nil {
			s.VotersSince[i] = v.votersSince
		}
	}
	for _, n := range m.live {
		p := &m.peers[n]
		s.Peers[n] = peerSnapshot{
			Incarnation: p.incarnation, Past: p.past, Heartbeat: p.hb, Arrived: p.arrived,
			Heard: p.heard, Stamps: p.stamps, Echoed: p.echoed, Fresh: p.fresh, Grant: p.grant, GrantOf: p.grantOf,
			Listed: p.listed, ListedAt: p.listedAt,
		}
	}
	return json.Marshal(s)
}

// restored returns a view of a snapshot, the same one where it is known already.
func (m *Member) restored(v *View) *View {
	if v == nil {
		return nil
	}
	if known := m.find(v.ID()); known != nil {
		return known
	}
	m.remember(v)
	return v
}

// Restore returns a member that goes on where the one of the snapshot stopped,
// on the same host. The data plane must not have been touched since.
func Restore(cfg Config, data []byte, now Time, random func() uint64) (*Member, error) {
	var s snapshot
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("read the state of the process before: %w", err)
	}
	if s.Format != snapshotFormat || s.Incarnation == 0 {
		return nil, fmt.Errorf("the state of the process before has format %d, not %d", s.Format, snapshotFormat)
	}
	for i, v := range []*View{s.Accepted, s.Active, s.Tabled} {
		if v == nil {
			continue
		}
		v.votersSince = s.VotersSince[i]
		if len(v.Owners) != cfg.Buckets || len(s.States) != cfg.Buckets {
			return nil, fmt.Errorf("the process before had %d buckets, the file has %d", len(v.Owners), cfg.Buckets)
		}
		v.note()
	}
	m := New(cfg, &Stored{s.Promised, s.Accepted}, now, random)
	m.started, m.bornAt, m.sent, m.nextSend = s.Started, s.BornAt, s.Sent, now
	m.reading = true // what came meanwhile comes first
	m.incarnation, m.previous, m.state = s.Incarnation, s.Previous, s.State
	m.amnesiac, m.forgot, m.spent = s.Amnesiac, s.Forgot, s.Spent
	m.activeSince, m.grantedSince, m.deadline = s.ActiveSince, s.ActiveSince, s.Deadline
	m.fencedSince, m.unfitAt = s.FencedSince, s.UnfitAt
	m.rivalAt, m.heeds = s.RivalAt, s.Heeds
	m.aloneAt = s.AloneAt
	m.stale, m.inView, m.given, m.order, m.limit = s.Stale, s.InView, s.Given, s.Order, s.Limit
	m.active, m.tabled, m.frozen = m.restored(s.Active), m.restored(s.Tabled), s.Frozen
	copy(m.states, s.States)
	m.drainsChanged = true // whom buckets wait for is found out anew
	for n, q := range s.Peers {
		if n == 0 || n > MaxNodes {
			return nil, fmt.Errorf("the state of the process before names node %d", n)
		}
		m.peers[n] = peer{
			incarnation: q.Incarnation, past: q.Past, hb: q.Heartbeat, arrived: q.Arrived,
			heard: q.Heard, stamps: q.Stamps, echoed: q.Echoed, fresh: q.Fresh, grant: q.Grant, grantOf: q.GrantOf,
			listed: q.Listed, listedAt: q.ListedAt, since: now, met: now,
		}
		m.note(n)
	}
	return m, nil
}
