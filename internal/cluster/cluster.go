// Package cluster holds the words of a cluster's description as values: its
// mode, interfaces, nodes, hash and action. The configuration file is parsed
// into them, the data plane and the host are set up from them. Pure: no I/O.
package cluster

import (
	"net/netip"
	"time"
)

// Limits of a cluster.
const (
	MaxNodes       = 64
	MaxBuckets     = 65536
	DefaultBuckets = 4096
	DefaultLease   = 100 * time.Millisecond
	MinLease       = 30 * time.Millisecond
	MaxLease       = 10 * time.Second
	MinHeartbeat   = 5 * time.Millisecond
	MaxHeartbeat   = 20 * time.Millisecond // the default, where the lease leaves room for it
	LeasePerBeat   = 3                     // a lease lasts at least as many heartbeat intervals
	DefaultWeight  = 100                   // one share
	MaxWeight      = 1000
	MaxKeys        = 2   // the new one and the old one
	MaxInterfaces  = 8   // one bit each in the data plane's address map
	MaxAddresses   = 256 // cluster addresses over all interfaces
	MaxPeerAddress = 512 // own addresses of all nodes together
	HeartbeatPort  = 7625
	DefaultDrain   = time.Hour
	MaxDrain       = 30 * 24 * time.Hour
)

// Limits and defaults of health checks.
const (
	MaxChecks            = 32
	DefaultCheckInterval = time.Second
	MinCheckInterval     = 50 * time.Millisecond
	MaxCheckInterval     = time.Hour
	DefaultCheckTimeout  = time.Second
	MinCheckTimeout      = 10 * time.Millisecond
	MaxCheckTimeout      = time.Minute
	DefaultRise          = 2
	DefaultFall          = 3
	MaxCheckCount        = 100 // rise, fall
)

// Cluster describes one cluster as seen by one of its nodes. It is validated
// when it is made (internal/config) and not changed afterwards.
type Cluster struct {
	Name       string
	Mode       Mode
	Self       int // this node's id, 1..MaxNodes
	Nodes      []Node
	Interfaces []Interface
	Hash       Hash
	Action     Action
	Lease      time.Duration
	Membership Membership
	Handover   Handover
	Health     Health
}

// Membership is how the nodes keep in touch. It means something where
// Cluster.HasMembership is true.
type Membership struct {
	Heartbeat  time.Duration // interval, MinHeartbeat..Lease/LeasePerBeat
	Partition  Partition
	Witness    netip.Addr // asked before a node goes alone; the zero Addr: none
	Keys       []string   `json:"-"` // of the messages: the first sends, all are accepted; none: unprotected
	Interfaces []string   // dedicated links: heartbeats travel there, too
}

// Handover is what becomes of the flows of a bucket that moves between two live
// nodes. It means something where Cluster.HasMembership is true.
type Handover struct {
	UDP   UDP           // mode backend
	Flows Flows         // mode gateway
	Drain time.Duration // 0..MaxDrain: flows that are left after it are given up
}

// Node is a member of the cluster.
type Node struct {
	ID        int    // 1..MaxNodes
	Name      string // unique in the cluster
	Addresses []netip.Addr
	Buckets   []Range // nil: an even share of what nobody lists
	VoterOnly bool    // takes part in agreeing, handles nothing
	Weight    int     // 0..MaxWeight; its share of the buckets, DefaultWeight being one share
}

// Range is a run of buckets, both ends included.
type Range struct{ First, Last int }

// Interface is a network interface that takes part in the cluster.
type Interface struct {
	Name      string
	Side      Side
	Addresses []netip.Addr // cluster addresses on this link
	L2        L2
	MAC       MAC // the cluster MAC on this link
	Attach    Attach
}

// Hash says how an address becomes a bucket. All nodes must agree on it.
type Hash struct {
	Seed          uint32
	Buckets       int // 1..MaxBuckets
	Affinity      Affinity
	Key           Key
	IPv6FirstWord bool // hash the first 32 bits only, as the kernel's xt_cluster does
}

// Action says what becomes of packets. The zero value drops foreign ones.
// With Marking, owned packets get Mark, foreign ones ForeignMark, and none is
// dropped: that is left to the user's rules.
type Action struct {
	Marking     bool
	Mark        Mark
	ForeignMark Mark // Mask 0: the mark of foreign packets is left alone
}

// Mark is a packet mark: mark = mark &^ Mask | Value.
type Mark struct{ Value, Mask uint32 }

// HasMembership reports whether the nodes agree among themselves on who handles
// what: every node can be reached, and none is tied to buckets. Otherwise the
// table is static, share.Static of the nodes.
func (c *Cluster) HasMembership() bool {
	for _, n := range c.Nodes {
		if len(n.Addresses) == 0 || n.Buckets != nil {
			return false
		}
	}
	return len(c.Nodes) > 0
}

// KeepsFlows reports whether flows stay with the old owner of a bucket that
// moves. Otherwise buckets move at once, with all that is in them.
func (c *Cluster) KeepsFlows() bool {
	return c.Handover.Drain > 0 && (c.Mode == Backend || c.Handover.Flows == FlowsConntrack)
}

// KeepsUDP reports whether UDP flows do, too.
func (c *Cluster) KeepsUDP() bool {
	return c.KeepsFlows() && (c.Mode == Gateway || c.Handover.UDP == UDPKeep)
}

// Node returns the node with the given id.
func (c *Cluster) Node(id int) (Node, bool) {
	for _, n := range c.Nodes {
		if n.ID == id {
			return n, true
		}
	}
	return Node{}, false
}
