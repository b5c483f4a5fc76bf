package agent

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/heartbeat"
	"github.com/shoal-net/shoal/internal/member"
	"github.com/shoal-net/shoal/internal/share"
)

// Status is one cluster on this host, read from what is pinned and written
// down: it needs no agent that answers.
type Status struct {
	Cluster    string            `json:"cluster"`
	Mode       string            `json:"mode"`
	Node       int               `json:"node"`
	NodeName   string            `json:"node_name"`
	Agent      AgentStatus       `json:"agent"`
	Lease      LeaseStatus       `json:"lease"`
	Buckets    BucketStatus      `json:"buckets"`
	Nodes      []NodeStatus      `json:"nodes"`
	Interfaces []InterfaceStatus `json:"interfaces"`
	Warnings   []string          `json:"warnings"`
	Membership bool              `json:"membership"`        // the nodes know each other; else the table is as in the file
	Members    *heartbeat.Status `json:"members,omitempty"` // what they know, as the agent says; none: it does not answer
}

// AgentStatus is the process that renews the lease.
type AgentStatus struct {
	PID     int  `json:"pid"`
	Running bool `json:"running"`
}

// LeaseStatus is the node's right to act.
type LeaseStatus struct {
	Valid      bool    `json:"valid"`
	LeftMS     float64 `json:"left_ms"` // 0 when it is not valid
	Epoch      uint64  `json:"epoch"`
	TableEpoch uint64  `json:"table_epoch"`
	View       string  `json:"view"`       // Epoch as the logs name it: round.proposer, or a count where nodes agree on nothing
	TableView  string  `json:"table_view"` // TableEpoch, likewise
}

// BucketStatus counts the buckets by their state on this node.
type BucketStatus struct {
	Total     int `json:"total"`
	Owned     int `json:"owned"`
	Acquiring int `json:"acquiring"`
	Held      int `json:"held"` // of those acquiring: no new UDP flow is taken yet
	Draining  int `json:"draining"`
	Foreign   int `json:"foreign"`
}

// NodeStatus is a node's share in the table that the cluster acts on.
type NodeStatus struct {
	ID      int     `json:"id"`
	Name    string  `json:"name"`
	Buckets int     `json:"buckets"`
	Packets uint64  `json:"packets"` // that came in for its buckets, as seen here
	Rate    float64 `json:"packets_per_second"`
}

// InterfaceStatus is one interface of the cluster.
type InterfaceStatus struct {
	Name      string             `json:"name"`
	Side      string             `json:"side"`
	Attached  bool               `json:"attached"`
	Mode      string             `json:"attach"`
	L2        string             `json:"l2"`
	MAC       string             `json:"mac"`
	Addresses []string           `json:"addresses"`
	Counters  map[string]uint64  `json:"counters"`
	Rates     map[string]float64 `json:"rates_per_second"`
}

// ReadStatus reads a cluster's status, with rates over the given time. A
// cluster that is not there is dataplane.ErrNotPinned.
func ReadStatus(p Paths, interval time.Duration) (*Status, error) {
	state, err := loadState(p)
	if err != nil {
		return nil, err
	}
	before, err := dataplane.Inspect(p.Pins())
	if err != nil {
		return nil, err
	}
	if state == nil || state.Cluster == nil {
		return nil, fmt.Errorf("%s: pinned, but what the agent wrote down is gone: `shoal down %s` removes it", p.Cluster, p.Cluster)
	}
	time.Sleep(interval)
	after, err := dataplane.Inspect(p.Pins())
	if err != nil {
		return nil, err
	}
	if !state.Cluster.HasMembership() {
		return describe(state, nil, before, after, interval)
	}
	members, silent := memberStatus(p, glance)
	s, err := describe(state, members, before, after, interval)
	if err == nil && silent != nil {
		s.Warnings = append(s.Warnings, fmt.Sprintf("what the nodes know of each other is not shown: %v", silent))
	}
	return s, err
}

// describe takes what the nodes know of each other, or nil.
func describe(state *State, members *heartbeat.Status, before, after *dataplane.Snapshot, interval time.Duration) (*Status, error) {
	c := state.Cluster
	self, _ := c.Node(c.Self)
	s := &Status{
		Cluster:  c.Name,
		Mode:     c.Mode.String(),
		Node:     c.Self,
		NodeName: self.Name,
		Agent:    AgentStatus{state.PID, state.Running()},
		Lease: LeaseStatus{
			Valid:      after.Lease > 0 && after.TableEpoch >= after.LeaseEpoch,
			LeftMS:     max(0, float64(after.Lease)/float64(time.Millisecond)),
			Epoch:      after.LeaseEpoch,
			TableEpoch: after.TableEpoch,
			View:       epochWord(c, after.LeaseEpoch),
			TableView:  epochWord(c, after.TableEpoch),
		},
		Buckets:    countStates(after.States),
		Warnings:   []string{},
		Membership: c.HasMembership(),
	}
	owners, err := ownersOf(c, members)
	if err != nil {
		return nil, err
	}
	if s.Nodes, err = describeNodes(c, owners, before, after, interval); err != nil {
		return nil, err
	}
	for _, ifc := range c.Interfaces {
		s.Interfaces = append(s.Interfaces, describeInterface(ifc, before, after, interval))
	}
	s.warn()
	if members != nil {
		members.Owners = nil // too much for people, and told in Nodes
		s.Members = members
		s.Warnings = append(s.Warnings, members.Warnings...)
	}
	return s, nil
}

// ownersOf returns the table that the cluster acts on, by bucket: that of the view
// in force, where the nodes agree on one. 0 is nobody, as far as is known here.
func ownersOf(c *cluster.Cluster, members *heartbeat.Status) ([]uint8, error) {
	switch {
	case !c.HasMembership():
		return share.Static(c.Nodes, c.Hash.Buckets)
	case members == nil || members.Owners == nil:
		return make([]uint8, c.Hash.Buckets), nil
	}
	return members.Owners, nil
}

func epochWord(c *cluster.Cluster, epoch uint64) string {
	if c.HasMembership() {
		return member.Epoch(epoch).String()
	}
	return fmt.Sprint(epoch)
}

func countStates(states []dataplane.State) BucketStatus {
	b := BucketStatus{Total: len(states)}
	for _, state := range states {
		switch state {
		case dataplane.Owned:
			b.Owned++
		case dataplane.Acquiring:
			b.Acquiring++
		case dataplane.AcquiringHeld:
			b.Acquiring++
			b.Held++
		case dataplane.Draining:
			b.Draining++
		default:
			b.Foreign++
		}
	}
	return b
}

func describeNodes(c *cluster.Cluster, owners []uint8, before, after *dataplane.Snapshot, interval time.Duration) ([]NodeStatus, error) {
	if len(owners) != len(after.BucketPackets) || len(owners) != len(before.BucketPackets) {
		return nil, errors.New("the agent is changing the data plane: ask again")
	}
	var nodes []NodeStatus
	for _, n := range c.Nodes {
		status := NodeStatus{ID: n.ID, Name: n.Name}
		var since uint64
		for b, owner := range owners {
			if int(owner) == n.ID {
				status.Buckets++
				status.Packets += after.BucketPackets[b]
				since += after.BucketPackets[b] - before.BucketPackets[b]
			}
		}
		status.Rate = float64(since) / interval.Seconds()
		nodes = append(nodes, status)
	}
	return nodes, nil
}

func describeInterface(ifc cluster.Interface, before, after *dataplane.Snapshot, interval time.Duration) InterfaceStatus {
	snapshot := after.Interfaces[ifc.Name]
	s := InterfaceStatus{
		Name:     ifc.Name,
		Side:     ifc.Side.String(),
		Attached: snapshot.Attached,
		L2:       ifc.L2.String(),
		MAC:      ifc.MAC.String(),
		Counters: snapshot.Counters.ByName(),
		Rates:    make(map[string]float64),
	}
	if snapshot.Attached {
		s.Mode = snapshot.Mode.String()
	}
	for _, addr := range ifc.Addresses {
		s.Addresses = append(s.Addresses, addr.String())
	}
	old := before.Interfaces[ifc.Name].Counters.ByName()
	for name, n := range s.Counters {
		s.Rates[name] = float64(n-old[name]) / interval.Seconds()
	}
	return s
}

// warn adds, in words, what an operator should look at.
func (s *Status) warn() {
	add := func(format string, args ...any) { s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...)) }
	switch {
	case !s.Agent.Running:
		add("the agent (process %d) is not running: this node handles nothing; start it again, or take the rest away with `shoal down %s`", s.Agent.PID, s.Cluster)
	case !s.Lease.Valid:
		add("no lease: this node handles nothing; the agent (process %d) may be stopped or starved", s.Agent.PID)
	}
	for _, ifc := range s.Interfaces {
		if !ifc.Attached {
			add("%s: no program is attached; is the interface there?", ifc.Name)
		}
		if n := ifc.Counters[dataplane.AlarmConflict.String()]; n > 0 {
			add("%s: another system claimed a cluster address %d times with a MAC that is not the cluster's", ifc.Name, n)
		}
	}
}

// CounterNames returns the counters of an interface in the order of their
// names.
func (i InterfaceStatus) CounterNames() []string {
	return slices.Sorted(maps.Keys(i.Counters))
}
