package member

import "time"

// NodeID is a node's id, 1..MaxNodes. 0 is nobody.
type NodeID = uint8

// MaxNodes is the largest node id.
const MaxNodes = 64

// MaxInterfaces is how many paths between nodes are told apart: one bit each
// in Echo.Heard.
const MaxInterfaces = 8

// Time is a reading of one node's boot-time clock. Readings of different nodes
// are never compared: they only travel so that they can come back.
type Time = time.Duration

// Set is a set of nodes; node id n is bit n-1.
type Set uint64

// Incarnation tells one life of a node from another: a random number, drawn
// when a process starts and whenever a node that was fenced comes back. Never 0.
type Incarnation uint64

// State is what a node says of itself.
type State uint8

// The states of a node (docs/protocol.md, clauses S1 to S6).
const (
	Joining  State = iota // in no view; wants to be, once it is fit
	Serving               // in the view; handles its buckets while its lease stands
	Draining              // in the view, gives its buckets away and stays
	Leaving               // in the view, gives its buckets away and goes
	Fenced                // handles nothing, and will not again in this incarnation
	Lost                  // in views only: put out without its word
)

// Epoch orders views and is the ballot under which a view was proposed:
// round<<8 | proposer. No two nodes propose under the same one.
type Epoch uint64

// Digest is the first half of a SHA-256.
type Digest [16]byte

// ViewID names a view. The zero ViewID is the view before the first one.
type ViewID struct {
	Epoch  Epoch
	Digest Digest
}

// Settings is a digest for each setting in which nodes must not differ, in an
// order fixed by the configuration (cluster.Settings). 0: the sender knows no
// such setting.
type Settings [16]uint32

// Message is what travels between nodes: the sender and exactly one body.
type Message struct {
	From        NodeID
	Incarnation Incarnation
	Body        Body
}

// Body is one of *Heartbeat, *ViewHeader, *Fetch, *Chunk, *Drained, *FlowFetch,
// *FlowChunk.
type Body interface{ body() }

// Heartbeat is all that a node has to say, so that any one of them stands for
// all before it: losing, repeating and reordering them does no harm (clause M1).
type Heartbeat struct {
	Previous  Incarnation // the incarnation that this process had before, or 0
	Sent      Time        // sender's clock; grows with every heartbeat of an incarnation
	State     State
	Fit       bool           // may be put into a view (clause P3)
	Amnesiac  bool           // started without memory and has accepted no view since
	Alone     bool           // may go on alone without having served: whoever hears this stops first (clause A4)
	Listed    Set            // nodes in the sender's file
	Settings  Settings       // digests of what must be equal
	Carrier   uint8          // interfaces whose link is up
	Suspects  Set            // voters, live nodes and those in its file that the sender has not heard for a lease and the drift margin
	Weight    uint16         // that the sender's file asks for; 100 is one share
	Limit     uint16         // the largest weight that the sender's health allows; MaxWeight: any
	Order     Order          // what somebody asked the sender for, until a view has it
	Promised  Epoch          // highest ballot promised or accepted
	Accepted  ViewID         // highest view accepted
	Ended     Set            // live nodes of that view whose incarnation has ended by their own word
	Grants    uint64         // of the accepted view (ViewHeader.Grants): which leases the echoes stand for
	Granted   Set            // nodes whose leases the echoes extend: they live in the accepted view
	Active    ViewID         // view that the sender's data plane acts on …
	Lineage   uint64         // … and its line
	Acting    Set            // live nodes of that view that have said, to anyone, that they act on it
	LeaseLeft time.Duration  // of the sender's lease; ≤ 0: none
	Lateness  time.Duration  // worst lateness of the sender's heartbeats in the last minute
	Echoes    [MaxNodes]Echo // by node id - 1
}

// Echo is what the sender last heard of another node.
type Echo struct {
	Incarnation Incarnation // 0: nothing, or the sender grants it nothing
	Sent        Time        // the newest Heartbeat.Sent, in the other's clock
	Heard       uint8       // interfaces on which it was heard within a lease
}

// Fetch asks one node for the table of a view: the chunks from index From on.
type Fetch struct {
	To   NodeID
	View ViewID
	From uint16
}

// ChunkSize is how many bytes of a table a chunk carries, the last one fewer.
const ChunkSize = 1024

// Chunk is one part of a view's encoded table (View.AppendTable).
type Chunk struct {
	View  ViewID
	Index uint16 // of this chunk
	Total uint16 // chunks in all
	Data  []byte // ChunkSize bytes, the last chunk 1..ChunkSize
}

// Drained says of which buckets that it gave up the sender has no flows left.
// It holds for one view only.
type Drained struct {
	View ViewID
	From uint16 // the first bucket that Bits speaks of, a multiple of 8·ChunkSize
	Bits []byte // bucket From+i is bit i%8 of byte i/8; at most ChunkSize bytes
}

// FlowFetch asks one node which UDP flows it keeps in the buckets that it gave up
// in a view: for the chunks from index From on of a list later than After. It is for
// that node's agent, as the answer is for the asker's (clause T6).
type FlowFetch struct {
	To    NodeID
	View  ViewID
	After Time // of the clock of the node that is asked; 0: any list will do
	From  uint16
}

// FlowChunk is one part of such a list.
type FlowChunk struct {
	View  ViewID
	Taken Time // when the list was, by the sender's clock: later ones replace it
	Index uint16
	Total uint16
	Data  []byte // whole flows (AppendFlow), at most ChunkSize bytes
}

func (*Heartbeat) body()  {}
func (*ViewHeader) body() {}
func (*Fetch) body()      {}
func (*Chunk) body()      {}
func (*Drained) body()    {}
func (*FlowFetch) body()  {}
func (*FlowChunk) body()  {}
