package member

import (
	"fmt"
	"math/bits"
)

// Entry is one node in a view.
type Entry struct {
	Incarnation Incarnation // the one that is, or last was, in the view; 0: never
	State       State       // Serving, Draining, Leaving: live. Fenced, Lost: out. Joining: never was in
	Weight      uint16      // 0..1000, as it counts now; 100 is one share
	Drained     NodeID      // who asked for the drain; 0: nobody
	Ordered     uint16      // weight by command, instead of the one in the file …
	OrderedBy   NodeID      // … and who asked for it; 0: nobody
}

// Live reports whether the entry's node may handle packets under the view.
func (e Entry) Live() bool {
	return e.State == Serving || e.State == Draining || e.State == Leaving
}

// ViewHeader is a view without its table: what is proposed and accepted. The
// table follows from the header and the parent's table (View.next), and its
// digest is part of the header.
type ViewHeader struct {
	Epoch     Epoch
	Parent    ViewID
	Lineage   uint64 // drawn by whoever proposed the first view of a chain
	Voters    Set    // a majority of them accepts views …
	OldVoters Set    // … and a majority of these, too, while the voters change; else equal to Voters
	// The epoch of the first view of this line with these voters, old and new: who
	// knows of that one, or of any since, has known of the voters for as long.
	VotersFrom Epoch
	Alone      bool // chosen by one of two voters (clause A1)
	Done       Set  // old owners of the parent that have nothing left of what they gave up
	Members    [MaxNodes]Entry
	Table      Digest // of the encoded table
	Reason     string // why, in words; at most MaxReason bytes
}

// MaxReason is the longest ViewHeader.Reason.
const MaxReason = 160

// Move is a bucket whose old owners may act on an earlier view still, or have
// flows of it.
type Move struct {
	Bucket uint16
	Old    Set
}

// View is what the nodes agree on. It is never changed once made.
type View struct {
	ViewHeader
	Digest Digest // of the header
	Owners []NodeID
	Moves  []Move // by ascending bucket

	votersSince Time // since when this node has known of these voters (clause V6)
	leavers     Set  // all old owners in Moves
}

// note sums the moves up.
func (v *View) note() {
	v.leavers = 0
	for _, m := range v.Moves {
		v.leavers |= m.Old
	}
}

// ID returns the view's name.
func (v *View) ID() ViewID { return ViewID{v.Epoch, v.Digest} }

// String returns the epoch as round.proposer.
func (e Epoch) String() string { return fmt.Sprintf("%d.%d", uint64(e>>8), uint8(e)) }

// Proposer returns who proposed the view.
func (e Epoch) Proposer() NodeID { return NodeID(e & 0xff) }

// next returns the proposer's first epoch above e.
func (e Epoch) next(n NodeID) Epoch { return (e>>8+1)<<8 | Epoch(n) }

// Has reports whether n is in the set.
func (s Set) Has(n NodeID) bool { return n != 0 && s>>(n-1)&1 == 1 }

// With returns the set and n.
func (s Set) With(n NodeID) Set { return s | 1<<(n-1) }

// Without returns the set but n.
func (s Set) Without(n NodeID) Set { return s &^ (1 << (n - 1)) }

// Len returns the number of nodes in the set.
func (s Set) Len() int { return bits.OnesCount64(uint64(s)) }

// majority reports whether s holds more than half of the voters.
func (s Set) majority(voters Set) bool { return 2*(s&voters).Len() > voters.Len() }

// last returns the highest node in the set, 0 if it is empty.
func (s Set) last() NodeID { return NodeID(bits.Len64(uint64(s))) }

// first returns the lowest node in the set, 0 if it is empty.
func (s Set) first() NodeID {
	if s == 0 {
		return 0
	}
	return NodeID(bits.TrailingZeros64(uint64(s)) + 1)
}

// holds reports whether the node lives in the view, in that incarnation.
func (v *ViewHeader) holds(n NodeID, i Incarnation) bool {
	e := v.Members[n-1]
	return e.Live() && e.Incarnation == i
}
