package member

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// acquired is what Acquired says of a node.
func (n *node) acquired() (moves []Move, view ViewID, unknown Set) {
	view, unknown = n.Acquired(func(b int, old Set) { moves = append(moves, Move{uint16(b), old}) })
	return moves, view, unknown
}

// count counts a node's buckets in a state.
func (n *node) count(state uint8) (buckets int) {
	for _, s := range n.table {
		if s == state {
			buckets++
		}
	}
	return buckets
}

// A new owner takes no UDP until it knows which flows the old one keeps; then it
// leaves those alone until the old one is done (clause T6).
func TestUDPIsHeld(t *testing.T) {
	w := newWorld(t, 3, func(c *Config) { c.Keep, c.HoldUDP = true, true })
	w.run(2 * time.Second)
	one, two := w.nodes[1], w.nodes[2]
	if moves, view, unknown := one.acquired(); len(moves) > 0 || unknown != 0 || view != one.InForce() {
		t.Fatalf("at rest: %v of %v, in %v", moves, unknown, view)
	}
	one.Order(w.now, Order{Kind: Drain, Node: 2})
	w.perform(one)
	w.run(200 * time.Millisecond)
	moves, view, unknown := one.acquired()
	if len(moves) != 10 || slices.ContainsFunc(moves, func(m Move) bool { return m.Old != Set(0).With(2) }) ||
		unknown != Set(0).With(2) || view != one.InForce() || view != two.InForce() {
		t.Fatalf("drained: %v of %v, in %v", moves, unknown, view)
	}
	if moves, _, unknown := two.acquired(); len(moves) > 0 || unknown != 0 {
		t.Errorf("the old owner: %v of %v", moves, unknown)
	}
	if one.count(held) != 10 || two.count(draining) != 20 {
		t.Errorf("%d are held, %d draining", one.count(held), two.count(draining))
	}
	one.Frozen(w.now, 2, ViewID{Epoch: view.Epoch})
	w.perform(one)
	if one.count(held) != 10 {
		t.Error("what was known in another view counts")
	}
	one.Frozen(w.now, 2, view)
	w.perform(one)
	if again, _, unknown := one.acquired(); one.count(acquiring) != 10 || !slices.Equal(again, moves) || unknown != 0 {
		t.Errorf("known: %d are acquired, %v of %v", one.count(acquiring), again, unknown)
	}
	var all []int
	for b := range two.table {
		all = append(all, b)
	}
	two.Drained(w.now, uint64(view.Epoch), all)
	w.perform(two)
	w.run(50 * time.Millisecond)
	if moves, _, _ := one.acquired(); len(moves) > 0 || one.count(owned) != 30 {
		t.Errorf("done: %v, %d are owned", moves, one.count(owned))
	}
}

// What agents say travels when the node may speak, and is taken of who lives.
func TestPass(t *testing.T) {
	w := newWorld(t, 2, nil)
	one, two := w.nodes[1], w.nodes[2]
	if _, ok := one.Pass(w.now, &FlowFetch{To: 2}); ok {
		t.Error("a node that has just started speaks")
	}
	w.run(time.Second)
	s, ok := one.Pass(w.now, &FlowFetch{To: 2})
	if !ok || s.Interfaces == 0 {
		t.Fatal("a node that takes part is mute")
	}
	if v := two.Receive(w.now, w.now, 0, s.Message); v != Taken {
		t.Errorf("verdict %d", v)
	}
	s.Message.Incarnation++
	if v := two.Receive(w.now, w.now, 0, s.Message); v != Unproved {
		t.Errorf("of another incarnation: verdict %d", v)
	}
}

func FuzzDecodeFlows(f *testing.F) {
	f.Add(AppendFlow(nil, Flow{netip.MustParseAddrPort("192.0.2.1:4001"), netip.MustParseAddrPort("192.0.2.10:53"), 7}))
	f.Add(AppendFlow(nil, Flow{netip.MustParseAddrPort("[2001:db8::1]:4001"), netip.MustParseAddrPort("[2001:db8::10]:53"), 65535}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		switch err := DecodeFlows(b, func(f Flow) { again = AppendFlow(again, f) }); {
		case err != nil && !errors.Is(err, ErrMalformed):
			t.Error(err)
		case err == nil && !slices.Equal(again, b):
			t.Errorf("%x was read, %x is written", b, again)
		}
	})
}
