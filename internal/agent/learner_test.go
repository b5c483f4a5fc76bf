package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/heartbeat"
	"github.com/shoal-net/shoal/internal/member"
)

// fakePlane holds what is frozen.
type fakePlane struct {
	frozen map[dataplane.FrozenFlow]uint8
	err    error
}

func (p *fakePlane) Freeze(owner uint8, flows []dataplane.FrozenFlow) error {
	if p.err != nil {
		return p.err
	}
	for _, f := range flows {
		p.frozen[f] = owner
	}
	return nil
}

func (p *fakePlane) Thaw(keep func(dataplane.FrozenFlow, uint8) bool) error {
	for f, owner := range p.frozen {
		if !keep(f, owner) {
			delete(p.frozen, f)
		}
	}
	return p.err
}

// clients are the last bytes of the clients whose flows are frozen.
func (p *fakePlane) clients() (all []int) {
	for f := range p.frozen {
		b := f.Client.Addr().As4()
		all = append(all, int(binary.BigEndian.Uint32(b[:])&0xffffff))
	}
	slices.Sort(all)
	return all
}

// newOwner is a learner and what is around it: old owners that answer while they
// are not deaf.
type newOwner struct {
	learner
	plane  fakePlane
	clock  time.Duration
	asked  []*member.FlowFetch
	known  []string
	owners map[member.NodeID]*oldOwner
	deaf   map[member.NodeID]bool
	lose   func(*member.FlowChunk) bool
	logged []string
}

const testBuckets = 8

func newNewOwner() *newOwner {
	n := &newOwner{clock: time.Minute, plane: fakePlane{frozen: map[dataplane.FrozenFlow]uint8{}},
		owners: map[member.NodeID]*oldOwner{}, deaf: map[member.NodeID]bool{}}
	n.learner = learner{noter: newNoter(slog.New(logLines{&n.logged})), plane: &n.plane, old: make([]member.Set, testBuckets),
		say:  func(b member.Body) error { n.asked = append(n.asked, b.(*member.FlowFetch)); return nil },
		now:  func() time.Duration { return n.clock },
		name: func(id member.NodeID) string { return fmt.Sprint("node", id) },
		report: func(from member.NodeID, v member.ViewID) error {
			n.known = append(n.known, fmt.Sprint(from, " ", v.Epoch))
			return nil
		},
	}
	return n
}

// owner adds an old owner with flows 0 to count-1.
func (n *newOwner) owner(id member.NodeID, count int) *oldOwner {
	states := make([]dataplane.State, testBuckets)
	for b := range states {
		states[b] = D
	}
	o := newOldOwner(states...)
	o.count = count
	n.owners[id] = o
	return o
}

// gets tells which buckets come, from whom, and whose flows are not known.
func (n *newOwner) gets(v member.ViewID, unknown member.Set, old map[int]member.Set) {
	a := &heartbeat.Acquired{View: v, Unknown: unknown}
	for b, set := range old {
		a.Moves = binary.BigEndian.AppendUint16(a.Moves, uint16(b))
		a.Moves = binary.BigEndian.AppendUint64(a.Moves, uint64(set))
	}
	n.acquired(a)
	n.ask()
}

// run lets time pass; answers come at once.
func (n *newOwner) run(d time.Duration) {
	for end := n.clock + d; ; {
		for len(n.asked) > 0 {
			f := n.asked[0]
			n.asked = n.asked[1:]
			o := n.owners[f.To]
			if o == nil || n.deaf[f.To] {
				continue
			}
			for _, c := range o.ask(*f) {
				if n.lose == nil || !n.lose(c) {
					n.take(f.To, c)
				}
			}
			n.ask()
		}
		due, any := n.next()
		if !any || due > end {
			n.clock = end
			return
		}
		n.clock = max(n.clock, due)
		n.ask()
	}
}

func (n *newOwner) check(t *testing.T, what string, frozen []int, known ...string) {
	t.Helper()
	if diff := cmp.Diff(frozen, n.plane.clients(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s: frozen (-want +got)\n%s", what, diff)
	}
	if diff := cmp.Diff(known, n.known, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s: known (-want +got)\n%s", what, diff)
	}
	n.known = nil
}

const two, three = member.Set(1 << 1), member.Set(1 << 2)

// A new owner learns which flows stay, of the buckets that it gets only.
func TestLearnerLearns(t *testing.T) {
	n := newNewOwner()
	n.owner(2, 2*testBuckets)
	n.gets(view, two, map[int]member.Set{1: two, 5: two})
	n.run(time.Millisecond)
	n.check(t, "learned", []int{1, 5, 9, 13}, "2 5.1")
	n.gets(view, 0, map[int]member.Set{1: two})
	n.check(t, "a bucket is done", []int{1, 9})
	n.gets(view, 0, nil)
	n.check(t, "all are", nil)
	n.run(time.Hour)
	if len(n.asked) > 0 || n.owners[2].reads != 1 {
		t.Errorf("it goes on asking: %v, %d lists", n.asked, n.owners[2].reads)
	}
}

// Chunks that are lost are asked for again, whichever and however often.
func TestLearnerRepeats(t *testing.T) {
	n := newNewOwner()
	n.owner(2, 20_000)
	count := 0
	n.lose = func(*member.FlowChunk) bool { count++; return count%3 != 0 }
	n.gets(view, two, map[int]member.Set{1: two})
	n.run(10 * time.Second)
	if n.lose = nil; len(n.plane.frozen) != 20_000/testBuckets || len(n.known) != 1 {
		t.Errorf("%d flows are frozen, known %v", len(n.plane.frozen), n.known)
	}
}

// newLearned is a new owner that has learned the flows of bucket 1 from an old one.
func newLearned(t *testing.T) (*newOwner, *oldOwner) {
	t.Helper()
	n := newNewOwner()
	o := n.owner(2, 10)
	n.gets(view, two, map[int]member.Set{1: two})
	n.run(time.Millisecond)
	n.check(t, "learned", []int{1, 9}, "2 5.1")
	return n, o
}

// What an old owner has no more is taken when it says so again, and what began
// there at the last moment is left to it.
func TestLearnerRenews(t *testing.T) {
	n, o := newLearned(t)
	o.count = 3
	n.run(renewTime + time.Second)
	n.check(t, "ended", []int{1}, "2 5.1")
	o.count = 18
	n.run(renewTime + time.Second)
	n.check(t, "late", []int{1, 9, 17}, "2 5.1")
	n.deaf[2] = true
	n.run(time.Hour)
	n.check(t, "not told any more", []int{1, 9, 17})
}

// Several old owners are asked; each is known by itself.
func TestLearnerAsksAll(t *testing.T) {
	n := newNewOwner()
	n.owner(2, 3)
	n.owner(3, 5)
	n.deaf[3] = true
	n.gets(view, two|three, map[int]member.Set{1: two, 4: three, 2: two | three})
	n.run(50 * time.Millisecond)
	n.check(t, "one is deaf", []int{1, 2}, "2 5.1")
	if len(n.logged) != 1 { // how many stay
		t.Errorf("logged %q", n.logged)
	}
	n.run(2 * time.Second)
	if len(n.logged) != 2 || !strings.Contains(n.logged[1], "node3 does not tell which UDP flows it keeps") {
		t.Errorf("logged %q", n.logged)
	}
	n.deaf[3] = false
	n.run(time.Second)
	n.check(t, "both", []int{1, 2, 4}, "3 5.1")
	if owner := n.plane.frozen[dataplane.FrozenFlow{UDPFlow: udpFlow(2), Bucket: 2}]; owner != 3 {
		t.Errorf("a flow that both have is node %d's", owner)
	}
	n.gets(view, 0, map[int]member.Set{1: two, 2: two}) // node 3 is gone
	n.check(t, "one is gone", []int{1})
}

// In another view everything is asked for anew, but what is known to stay stays
// meanwhile.
func TestLearnerFollowsViews(t *testing.T) {
	n, o := newLearned(t)
	next := member.ViewID{Epoch: view.Epoch + 256}
	n.gets(next, two, map[int]member.Set{1: two, 2: two})
	n.run(20 * time.Millisecond)
	n.check(t, "the old owner lags", []int{1, 9})
	old := o.chunks[0]
	n.take(2, &member.FlowChunk{View: view, Taken: time.Hour * 2, Total: 1, Data: old})
	n.check(t, "what came late", []int{1, 9})
	o.host.epoch = uint64(next.Epoch)
	n.run(time.Second)
	n.check(t, "learned again", []int{1, 2, 9}, "2 6.1")
}

// An old owner's agent that was replaced makes another list.
func TestLearnerTakesLaterLists(t *testing.T) {
	n := newNewOwner()
	o := n.owner(2, 20_000)
	n.lose = func(c *member.FlowChunk) bool { return c.Index == 40 }
	n.gets(view, two, map[int]member.Set{1: two})
	n.run(10 * time.Millisecond)
	stale := &member.FlowChunk{View: view, Taken: o.taken, Index: 40, Total: uint16(len(o.chunks)), Data: o.chunks[40]}
	n.owner(2, 10).clock = o.clock + time.Minute
	n.lose = nil
	n.run(time.Second)
	n.check(t, "the later list", []int{1, 9}, "2 5.1")
	n.take(2, stale)
	n.check(t, "a part of the earlier one", []int{1, 9})
}

// A process that has not heard of it is told again; flows that cannot be frozen
// are not known.
func TestLearnerFails(t *testing.T) {
	n := newNewOwner()
	n.owner(2, 3)
	n.plane.err = errors.New("no memory")
	n.gets(view, two, map[int]member.Set{1: two})
	n.run(500 * time.Millisecond)
	n.check(t, "no memory", nil)
	n.plane.err = nil
	n.run(500 * time.Millisecond)
	n.check(t, "memory", []int{1}, "2 5.1")
	n.gets(view, two, map[int]member.Set{1: two})
	n.check(t, "not heard", []int{1}, "2 5.1")
	if text := strings.Join(n.logged, "\n"); !strings.Contains(text, "could not leave UDP flows to their old owner") {
		t.Errorf("logged %s", text)
	}
}
