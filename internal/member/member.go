package member

import (
	"fmt"
	"time"
)

// Drift is by how much a voter waits longer than the lease of another before
// it votes it out, in thousandths of the lease: two clocks that are each up to
// 1 % off differ by less (clause L3).
const Drift = 1030

// Config is what a member knows of its cluster from the file.
type Config struct {
	Self       NodeID
	Listed     Set                  // all nodes in the file
	Names      [MaxNodes + 1]string // of nodes, by id, for reasons in words
	Weight     uint16               // 0: a voter only (serve: false)
	Interval   Time                 // between heartbeats
	Lease      Time                 // L
	Buckets    int
	Interfaces []string // names of the paths that heartbeats take, at most MaxInterfaces
	Cluster    uint8    // which of them carry clients' packets; the others are heartbeats' own
	Settings   Settings
	Available  bool // partition: available
	Keep       bool // old owners keep their flows of buckets that move
	HoldUDP    bool // … UDP, too: a new owner waits to be told which
	KeepIll    bool // all-unhealthy: keep
}

// Stored is what must survive a restart: clause R1.
type Stored struct {
	Promised Epoch
	Accepted *View // nil: none yet
}

// Send is a message to all nodes, on some of the interfaces.
type Send struct {
	Interfaces uint8
	Message    *Message
}

// Effects is what an event asks for, to be done in the order of the fields; but
// a lease that does not end (LeaseDeadline > 0) after the table.
type Effects struct {
	LeaseSet      bool
	LeaseEpoch    uint64
	LeaseDeadline Time // 0: no lease
	TableSet      bool
	TableEpoch    uint64
	Table         []uint8 // bucket states, as in bpf/abi.h
	Store         *Stored // report it with Synced when it is on disk
	StoreSeq      uint64
	Sends         []Send
	Probe         bool   // look for an answer from outside: report it with Evidence
	Sweep         uint64 // not 0: destroy what flows there are, and report it with Swept
	Logs          []string
	Left          bool // this node is out of the cluster, as asked
}

// Member is one node's part in the protocol. Not safe for concurrent use.
type Member struct {
	cfg    Config
	random func() uint64

	now, started          Time
	reading               bool // what came while the process was stopped is being read
	graceUntil            Time // no suspicion before: see begin
	incarnation, previous Incarnation
	ownPast               Incarnation // the one before previous
	state                 State
	amnesiac              bool // may not vote yet for lack of memory (clause R3)
	recovered             Time // when amnesia ended
	forgot                bool // started without memory
	carrier               uint8
	bornAt                Time // when the incarnation was drawn, or the process started
	fencedSince           Time
	lostAt                Time // since when a path seems lost
	linkedAt              Time // when a clients' link came up
	unfitAt, pathsAt      Time
	pathsDue              bool   // paths are to be looked at again
	held                  string // why the node must not be in a view; empty: it may
	heldAt                Time   // since when, where the others are to take over first
	leaveBy               Time
	left                  bool

	sent, nextSend Time    // stamps of the last and the next heartbeat
	changed        bool    // something to say before the next heartbeat is due
	stirred        bool    // something was heard that may change more than the lease
	pushedAt       [2]Time // of the accepted view and the one in force, to those that lag
	peers          [MaxNodes + 1]peer
	live           []NodeID // peers that proved to be alive once, ascending
	strangers      []NodeID // those that have not yet
	lateness       time.Duration

	durable, wanted, storing votes
	storeSeq                 uint64
	active                   *View
	activeSince              Time
	grantedSince             Time // since when it acts on views that the same grants count for
	known                    []*View
	fetching                 fetching
	deadline, renewed        Time // of the lease: its end, and when that was moved last

	spent       Epoch // ballots up to here were used or are from an earlier life
	preparing   Time  // when this node last asked for promises …
	retry       Time  // … and how long it waits before it does again
	again       Time  // when it may
	promisedAt  Time  // when another node was promised a ballot
	desired     Time  // since when a change is wanted; 0: none is
	warnedAt    Time  // since when this node warns that it may go on alone
	behindSince Time  // a view was accepted elsewhere and not here
	evidence    Time
	ownID       Time // when another host last proved that it uses this node's id
	rival       Echo // of that host
	stillUntil  Time // this host keeps still: that one keeps the id
	acceptedAt  struct {
		view *View
		at   Time
	}
	probed  Time
	order   Order  // that this node was given, until a view has it
	limit   uint16 // what its health allows
	rivalAt Time   // when a node was heard last that serves in another line, or warns that it will
	aloneAt Time   // when a view made alone came into force here last
	heeds   Time   // until when it heeds one that the process before heard (clause R4)

	census        census
	stale         bool // it may have flows of buckets that others have owned since
	inView        bool // it has taken part since it was swept
	sweptAt       Time // when the sweep was last asked for
	sweepSeq      uint64
	given         buckets // that it is done with, of those that it gave up
	frozen        Set     // old owners whose UDP flows are known, in the view in force
	drainsChanged bool    // given, frozen or peers' drained
	drainsSaid    Time
	urgent        bool // somebody waits for what there is to say

	followed *View // whose followers acts has
	acts     Set
	tabled   *View      // whose table is in effect
	waiting  Set        // live old owners that have not left the buckets that move here
	draft    ViewHeader // of wish
	fx       Effects
	states   []uint8
	beat     Message
	body     Heartbeat
}

// votes is the durable part of a voter.
type votes struct {
	promised Epoch
	accepted *View
}

// New returns the member of a node that starts. Without stored it has no
// memory (clause R3). random draws incarnations and spreads retries.
func New(cfg Config, stored *Stored, now Time, random func() uint64) *Member {
	m := &Member{cfg: cfg, random: random, started: now, bornAt: now, now: now, carrier: 0xff}
	m.states = make([]uint8, cfg.Buckets)
	m.limit, m.stale = MaxWeight, cfg.Keep
	m.amnesiac, m.forgot = stored == nil, stored == nil
	if stored != nil {
		m.wanted = votes{stored.Promised, stored.Accepted}
		m.durable, m.storing = m.wanted, m.wanted
		m.spent = stored.Promised
		if stored.Accepted != nil {
			m.remember(stored.Accepted)
			m.list(stored.Accepted)
		}
	}
	m.incarnation = m.draw()
	m.nextSend = now + m.patience() + Time(random()%uint64(cfg.Interval))
	return m
}

func (m *Member) draw() Incarnation {
	for {
		if i := Incarnation(m.random()); i != 0 {
			return i
		}
	}
}

// patience is how long a voter waits before it votes a silent node out, and
// how long a restarted one keeps still: L and the drift margin (clause L3).
func (m *Member) patience() Time { return m.cfg.Lease * Drift / 1000 }

// Effects returns what the events since the last call ask for. It is valid
// until the next event.
func (m *Member) Effects() *Effects { return &m.fx }

// begin starts an event.
func (m *Member) begin(now Time) {
	// A process that was stopped may have lost what came meanwhile: it hears
	// the others for an interval before it accuses anyone (clause L4).
	if now-m.now > m.cfg.Lease/2 {
		m.graceUntil = now + m.grace()
		m.reading = true
	}
	m.now = max(now, m.now)
	m.stirred, m.census.counted = false, false
	m.fx = Effects{Sends: m.fx.Sends[:0], Logs: m.fx.Logs[:0]}
}

// grace is how long a node hears the others before it accuses any, after a time
// in which it may not have heard them (clause L4).
func (m *Member) grace() Time { return m.cfg.Interval + m.cfg.Interval/4 }

func (m *Member) logf(format string, args ...any) {
	m.fx.Logs = append(m.fx.Logs, fmt.Sprintf(format, args...))
}

func (m *Member) name(n NodeID) string {
	if s := m.cfg.Names[n]; s != "" {
		return s
	}
	return fmt.Sprintf("node %d", n)
}

// Tick lets time pass. All messages that arrived before now must have been
// given to Receive.
func (m *Member) Tick(now Time) {
	m.begin(now)
	m.reading = false
	m.step()
}

// Synced reports that what Effects.Store asked for is on disk.
func (m *Member) Synced(now Time, seq uint64) {
	m.begin(now)
	if seq == m.storeSeq && m.durable != m.storing {
		m.durable = m.storing
		m.changed = true
	}
	m.step()
}

// Carrier reports which interfaces have a link. A node that loses a clients'
// link serves nobody there: it gives up at once (clause P2).
func (m *Member) Carrier(now Time, up uint8) {
	m.begin(now)
	lost := m.carrier &^ up & m.cfg.Cluster
	if up&^m.carrier&m.cfg.Cluster != 0 {
		m.linkedAt = m.now
	}
	m.carrier = up
	if lost != 0 && m.serves() {
		m.fence("lost the link of " + m.interfaces(lost))
	}
	m.changed = true
	m.step()
}

// Evidence reports that something outside the cluster answered a probe sent
// since Effects.Probe asked for it (clause A2).
func (m *Member) Evidence(now Time) {
	m.begin(now)
	m.evidence = m.now
	m.step()
}

// Reload takes over what may change while the member runs: the list of nodes,
// names, weight and partition.
func (m *Member) Reload(now Time, cfg Config) {
	m.begin(now)
	m.cfg.Listed, m.cfg.Names, m.cfg.Weight, m.cfg.Available = cfg.Listed, cfg.Names, cfg.Weight, cfg.Available
	m.changed = true
	m.step()
}

// Late reports how late this node's heartbeats have been at worst of late, for
// the others to see.
func (m *Member) Late(by time.Duration) { m.lateness = by }

// step draws the conclusions from whatever the event changed.
func (m *Member) step() {
	m.recover()
	m.learn()
	m.vote()
	m.paths()
	m.rejoin()
	m.shun()
	m.renew()
	m.lapse()
	m.goOrStay()
	m.propose()
	m.follow()
	m.takeOver()
	m.outlived()
	m.obey()
	m.sweep()
	m.depart()
	m.accuse()
	m.ask()
	m.store()
	m.tellDrained()
	m.speak()
}

// Next returns when Tick is due if nothing happens before.
func (m *Member) Next() Time {
	next := m.nextSend
	soonest := func(t Time) {
		if t > m.now && t < next {
			next = t
		}
	}
	if m.changed && !m.mute() && !m.impostor() && !m.left {
		next = min(next, max(m.now, m.sent+m.cfg.Interval/pace))
	}
	soonest(m.started + m.patience())
	soonest(m.graceUntil)
	soonest(m.stillUntil)
	soonest(m.again)
	if m.desired != 0 {
		soonest(m.turnAt())
	}
	if m.behindSince != 0 {
		soonest(m.behindSince + 2*m.cfg.Interval + 1)
	}
	if n := m.other(); n != 0 {
		soonest(m.lastWord(n) + m.probing())
		soonest(m.lastWord(n) + m.extending())
	}
	if m.pathsDue {
		soonest(m.pathsAt + m.cfg.Interval/4)
	}
	for _, v := range m.known {
		if v.Epoch >= m.acceptedEpoch() {
			soonest(v.votersSince + m.patience()) // it may be accepted then, or one on top of it (clause V6)
		}
	}
	soonest(m.nextLife())
	if m.lostAt != 0 {
		soonest(m.lostAt + m.hysteresis())
	}
	if m.serves() {
		soonest(m.lapsesAt())
	}
	if m.warnedAt != 0 {
		soonest(m.warnedUntil())
	}
	for _, n := range m.live {
		p := &m.peers[n]
		soonest(p.arrived + m.patience())
		soonest(p.arrived + m.quiet())
		for i := range m.cfg.Interfaces[1:] {
			soonest(p.heard[i] + m.patience())
			soonest(p.heard[i+1] + m.patience())
		}
	}
	return max(next, m.now+m.cfg.Interval/100)
}

// serves reports whether this node is in the view it acts on and has not given up.
func (m *Member) serves() bool {
	return m.state == Serving || m.state == Draining || m.state == Leaving && m.inActive()
}

// inActive reports whether the view in force has this incarnation.
func (m *Member) inActive() bool {
	return m.active != nil && m.active.holds(m.cfg.Self, m.incarnation)
}

// mute reports whether the node must keep still: it may have granted leases
// before it restarted that others still count on (clause R2).
func (m *Member) mute() bool { return m.now < m.started+m.patience() }
