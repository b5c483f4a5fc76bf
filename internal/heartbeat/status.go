package heartbeat

import (
	"fmt"
	"strings"
	"time"

	"github.com/shoal-net/shoal/internal/member"
)

// Status is what the process knows of the cluster and of itself.
type Status struct {
	State       string            `json:"state"`          // of this node
	Held        string            `json:"held,omitempty"` // why it stays out of views
	View        *ViewStatus       `json:"view"`           // in force here; null: none yet
	LeaseLeftMS float64           `json:"lease_left_ms"`
	Voting      bool              `json:"voting"`
	Owners      []byte            `json:"owners,omitempty"` // in the view in force, by bucket: ids of nodes
	Nodes       []NodeStatus      `json:"nodes"`            // by id, this one among them
	Interfaces  []InterfaceStatus `json:"interfaces"`
	Lateness    LatenessStatus    `json:"lateness"`
	Refused     map[string]uint64 `json:"refused"` // messages, by why
	Lost        uint64            `json:"lost_to_agent"`
	Warnings    []string          `json:"warnings"`
}

// ViewStatus is what the nodes have agreed on.
type ViewStatus struct {
	Epoch       uint64  `json:"epoch"`
	Round       uint64  `json:"round"` // the epoch without its proposer
	Proposer    int     `json:"proposer"`
	Coordinator int     `json:"coordinator"` // who proposes next
	Digest      string  `json:"digest"`
	SinceMS     float64 `json:"since_ms"` // how long it has been in force here
	Reason      string  `json:"reason"`
	Voters      []int   `json:"voters"`
	Alone       bool    `json:"alone"`  // chosen without a majority (partition: available)
	Moving      int     `json:"moving"` // buckets whose old owners are not done with them yet
}

// NodeStatus is a node as this one sees it.
type NodeStatus struct {
	ID          int                `json:"id"`
	Name        string             `json:"name"`
	Self        bool               `json:"self"`
	State       string             `json:"state"` // in the view
	Says        string             `json:"says"`  // of itself; empty: it is not heard
	Voter       bool               `json:"voter"`
	VotesOnly   bool               `json:"votes_only"`     // `serve: false` in the file here
	Weight      int                `json:"weight"`         // as it counts in the view
	DrainedBy   int                `json:"drained_by"`     // the node where the drain was asked for; 0: it is not drained
	Ordered     int                `json:"ordered_weight"` // instead of the file's, where OrderedBy is not 0 …
	OrderedBy   int                `json:"ordered_by"`     // … the node where that was asked for
	HealthLimit int                `json:"health_limit"`   // the largest weight that its checks allow, as it said last; -1: it is not heard
	Buckets     int                `json:"buckets"`        // that it owns, also while it acquires them
	Draining    int                `json:"draining"`       // that it gave up, and has flows of still
	Acquiring   int                `json:"acquiring"`      // that it owns, while others have flows of them still
	Present     bool               `json:"present"`        // heard of late
	LastHeardMS map[string]float64 `json:"last_heard_ms"`  // by interface; none: never
	HearsUs     []string           `json:"hears_us"`       // interfaces on which both hear each other
	LeaseLeftMS float64            `json:"lease_left_ms"`  // as it said last
	LatenessMS  float64            `json:"lateness_ms"`    // worst of the last minute, as it said last
	SameView    bool               `json:"same_view"`      // acts on the view in force here
	DiffersIn   []string           `json:"differs_in"`     // settings, by their keys in the file
	TwoOfThisID bool               `json:"two_of_this_id"` // two hosts use its id
}

// InterfaceStatus is a path of heartbeats.
type InterfaceStatus struct {
	Name      string `json:"name"`
	Dedicated bool   `json:"dedicated"`
	Carrier   bool   `json:"carrier"`
	Failed    string `json:"failed,omitempty"` // why no heartbeats are sent
	Errors    uint64 `json:"send_errors"`
	LastError string `json:"last_send_error,omitempty"`
}

// LatenessStatus is how late the process did what was due.
type LatenessStatus struct {
	WorstMS   float64  `json:"worst_ms"`  // of the last minute
	Histogram []uint64 `json:"histogram"` // element n: less than 2^n µs late, and not in an element before
	Lacking   []string `json:"lacking"`   // of what makes a process real-time
}

var stateWords = map[member.State]string{
	member.Joining: "joining", member.Serving: "serving", member.Draining: "draining",
	member.Leaving: "leaving", member.Fenced: "fenced", member.Lost: "lost",
}

func stateWord(s member.State) string { return stateWords[s] }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (p *process) status(now time.Duration) Status {
	ms := p.m.Status(now)
	draining, acquiring, moving := p.m.Moving()
	s := Status{
		State: stateWord(ms.State), Held: ms.Held, Voting: ms.Voting,
		LeaseLeftMS: max(0, milliseconds(ms.LeaseLeft)),
		Lateness: LatenessStatus{
			WorstMS:   milliseconds(p.late.lastMinute(now)),
			Histogram: p.late.counts[:],
			Lacking:   p.lacking,
		},
		Refused: p.refused.byName(),
		Lost:    p.agent.lost,
	}
	if ms.View != nil {
		s.View = viewStatus(&ms, now)
		s.View.Moving = moving
		for _, n := range ms.View.Owners {
			s.Owners = append(s.Owners, byte(n))
		}
	}
	s.Nodes = p.nodeStatus(&ms, now)
	for i := range s.Nodes {
		n := &s.Nodes[i]
		n.Draining, n.Acquiring = draining[n.ID], acquiring[n.ID]
	}
	for i := range p.paths {
		s.Interfaces = append(s.Interfaces, p.interfaceStatus(i))
	}
	s.Warnings = p.warnings(&ms, now)
	return s
}

func viewStatus(ms *member.Status, now time.Duration) *ViewStatus {
	v := ms.View
	s := &ViewStatus{
		Epoch: uint64(v.Epoch), Round: uint64(v.Epoch) >> 8, Proposer: int(v.Epoch.Proposer()),
		Coordinator: int(ms.Coordinator), Digest: fmt.Sprintf("%x", v.Digest[:]),
		SinceMS: milliseconds(now - ms.ViewSince), Reason: v.Reason, Alone: v.Alone,
		Voters: []int{},
	}
	for n := member.NodeID(1); n <= member.MaxNodes; n++ {
		if v.Voters.Has(n) {
			s.Voters = append(s.Voters, int(n))
		}
	}
	return s
}

func (p *process) nodeStatus(ms *member.Status, now time.Duration) (nodes []NodeStatus) {
	owned := map[member.NodeID]int{}
	if ms.View != nil {
		for _, n := range ms.View.Owners {
			owned[n]++
		}
	}
	add := func(id member.NodeID) *NodeStatus {
		node, _ := p.cluster.Node(int(id))
		s := NodeStatus{ID: int(id), Name: node.Name, VotesOnly: node.VoterOnly, Buckets: owned[id], State: "unknown", HealthLimit: -1,
			LastHeardMS: map[string]float64{}, HearsUs: []string{}, DiffersIn: []string{}}
		if ms.View != nil {
			e := ms.View.Members[id-1]
			s.State, s.Weight, s.Voter = stateWord(e.State), int(e.Weight), ms.View.Voters.Has(id)
			s.DrainedBy, s.Ordered, s.OrderedBy = int(e.Drained), int(e.Ordered), int(e.OrderedBy)
		}
		nodes = append(nodes, s)
		return &nodes[len(nodes)-1]
	}
	self := func() {
		s := add(ms.Self)
		s.Self, s.Present, s.SameView = true, true, ms.View != nil
		s.Says = stateWord(ms.State)
		s.LeaseLeftMS = max(0, milliseconds(ms.LeaseLeft))
		s.LatenessMS = milliseconds(p.late.lastMinute(now))
		s.HealthLimit = int(ms.Limit)
	}
	done := false
	for i := range ms.Peers {
		if !done && ms.Peers[i].ID > ms.Self {
			self()
			done = true
		}
		p.peerStatus(add(ms.Peers[i].ID), &ms.Peers[i], ms)
	}
	if !done {
		self()
	}
	return nodes
}

func (p *process) peerStatus(s *NodeStatus, peer *member.PeerStatus, ms *member.Status) {
	s.Present, s.TwoOfThisID = peer.Present, peer.Duplicate
	if peer.Proved {
		s.Says = stateWord(peer.State)
		s.LeaseLeftMS = max(0, milliseconds(peer.LeaseLeft))
		s.LatenessMS = milliseconds(peer.Lateness)
		s.HealthLimit = int(peer.Limit)
		s.SameView = ms.View != nil && peer.Active == ms.View.ID()
	}
	for i := range p.paths {
		if peer.Heard[i] >= 0 {
			s.LastHeardMS[p.paths[i].name] = milliseconds(peer.Heard[i])
		}
		if peer.TwoWay>>i&1 == 1 {
			s.HearsUs = append(s.HearsUs, p.paths[i].name)
		}
	}
	_, names := p.cluster.Settings()
	for _, i := range peer.Differs {
		s.DiffersIn = append(s.DiffersIn, settingName(names[:], i))
	}
}

// settingName names a setting; the next version may have more than this one.
func settingName(names []string, i int) string {
	if i < len(names) && names[i] != "" {
		return names[i]
	}
	return fmt.Sprintf("setting %d, which this version does not know", i)
}

func (p *process) interfaceStatus(i int) InterfaceStatus {
	path := &p.paths[i]
	s := InterfaceStatus{Name: path.name, Dedicated: path.ifc == nil, Carrier: p.up>>i&1 == 1,
		Failed: path.failed, Errors: path.errors}
	if path.lastErr != 0 {
		s.LastError = path.lastErr.Error()
	}
	return s
}

// differences names the settings in which a node differs.
func (p *process) differences(n member.NodeID) string {
	_, names := p.cluster.Settings()
	var keys []string
	for _, i := range p.m.Different(n) {
		keys = append(keys, settingName(names[:], i))
	}
	return "`" + strings.Join(keys, "`, `") + "`"
}

// sender describes who sent a message, as far as its address tells.
func (p *process) sender(id int, path string) string {
	text := "somebody"
	if n, ok := p.cluster.Node(id); ok {
		text = n.Name
		if len(n.Addresses) > 0 {
			text += fmt.Sprintf(" (%s)", n.Addresses[0])
		}
	} else if id != 0 {
		text = fmt.Sprintf("node %d", id)
	}
	if path != "" {
		text += " on " + path
	}
	return text
}
