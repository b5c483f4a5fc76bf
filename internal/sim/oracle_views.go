package sim

import (
	"slices"

	"github.com/shoal-net/shoal/internal/member"
)

// chosen keeps all views that anyone accepted, and checks invariants 5 and 6.
type chosen struct {
	views    map[member.ViewID]*member.View
	byEpoch  map[member.Epoch]*member.View
	accepted map[member.Epoch]member.Set // who has it on disk
	acted    map[member.Epoch]bool       // somebody's data plane acts, or acted, on it
	line     []*member.View              // those, as they came
	newest   *member.View                // that was acted on
	latest   *member.View                // that was accepted
	voted    instant                     // when the voters of an accepted view were others than before, last
	lost     member.Set                  // nodes that have lost their memory
	late     member.Set                  // nodes that had none when there were views, or one of whose two hosts had
	misled   member.Set                  // nodes that lost theirs and whose files name more without than with it
	ordered  []order                     // all commands so far
	anew     map[uint64]bool             // lines begun by voters most of whom did not know of the views before, or while files differed
}

// mostViews is more views than any number of faults can be a reason for.
const mostViews = 500

func (c *chosen) init() {
	c.views = map[member.ViewID]*member.View{}
	c.byEpoch = map[member.Epoch]*member.View{}
	c.accepted = map[member.Epoch]member.Set{}
	c.acted = map[member.Epoch]bool{}
	c.anew = map[uint64]bool{}
}

// voters returns the lists of voters of which majorities may be needed now.
func (c *chosen) voters() (lists []member.Set) {
	for _, v := range []*member.View{c.newest, c.latest} {
		if v != nil {
			lists = append(lists, v.Voters, v.OldVoters)
		}
	}
	return lists
}

// votes reports whether a node is a voter in all of them: one that is none cannot
// extend its own lease (clause A6).
func (c *chosen) votes(n member.NodeID) bool {
	for _, voters := range c.voters() {
		if !voters.Has(n) {
			return false
		}
	}
	return true
}

// forgetful reports whether so many nodes lost their memory that nobody can
// know what was agreed on: invariant 6 and the chain of views are excused then,
// not the others.
func (c *chosen) forgetful(voters member.Set) bool {
	return 2*(c.lost&voters).Len() >= voters.Len() || most(c.lost|c.late, voters) || c.misled&voters != 0
}

// most reports whether a set has a majority of another one.
func most(of, all member.Set) bool { return 2*(of&all).Len() > all.Len() }

// mislead notes who has lost its memory and has a file that lists mostly nodes without
// any, though the voters that it has forgotten may remember: such a file founds a
// cluster.
func (w *World) mislead() {
	c := &w.oracle.chosen
	for _, h := range w.hosts {
		if s := h.disk.content; c.lost.Has(h.id) && (s == nil || s.Accepted == nil) && most(c.lost|c.late, h.config.Listed) {
			c.misled = c.misled.With(h.id)
		}
	}
}

// twinBlank reports whether another host with a host's id has no memory: what one
// of them votes the other does not know.
func (w *World) twinBlank(h *host) bool {
	return slices.ContainsFunc(w.hosts, func(o *host) bool {
		return o != h && o.id == h.id && (o.disk.content == nil || o.disk.content.Accepted == nil)
	})
}

// stored notes a view that a node is about to accept.
func (o *oracle) stored(w *World, h *host, s *member.Stored) {
	v, c := s.Accepted, &o.chosen
	if v == nil {
		return
	}
	o.parted(w, h, v)
	if w.twinBlank(h) {
		c.late = c.late.With(h.id)
	}
	if c.views[v.ID()] != nil {
		return
	}
	if other := c.byEpoch[v.Epoch]; other != nil && !c.forgetful(v.Voters) {
		w.fail("invariant 6: two views of epoch %d", v.Epoch)
	}
	if v.Parent == (member.ViewID{}) {
		c.anew[v.Lineage] = len(c.views) > 0 && c.forgetful(v.Voters) || w.disputed(v.Voters)
	}
	c.views[v.ID()] = v
	c.byEpoch[v.Epoch] = v
	if len(c.views) > 4*mostViews {
		w.fail("restless: %d views were accepted, the last one because %s", len(c.views), v.Reason)
	}
	if c.latest == nil || v.Epoch > c.latest.Epoch {
		c.latest = v
		w.settled()
	}
	if parent := c.views[v.Parent]; parent != nil && (parent.Voters != v.Voters || parent.OldVoters != v.OldVoters) {
		c.voted = w.now
	}
	w.notef("view %s on %s: %s", number(v.Epoch), number(v.Parent.Epoch), v.Reason)
	c.fair(w, v)
	c.obeyed(w, v)
}

// disputed reports whether a file lists other nodes than those.
func (w *World) disputed(listed member.Set) bool {
	return slices.ContainsFunc(w.hosts, func(h *host) bool { return h.process != nil && h.config.Listed != listed })
}

// kept notes what a node has on disk now.
func (c *chosen) kept(w *World, h *host) {
	if s := h.disk.content; s != nil && s.Accepted != nil {
		e := s.Accepted.Epoch
		c.accepted[e] = c.accepted[e].With(h.id)
	}
}

// tabled checks a table that is given to a data plane.
func (c *chosen) tabled(w *World, h *host, fx *member.Effects) {
	var load plane
	load.load(fx.TableEpoch, fx.Table)
	if load.table|load.drains == 0 {
		return
	}
	e := member.Epoch(fx.TableEpoch)
	v := c.byEpoch[e]
	if v == nil {
		w.fail("invariant 6: %s acts on epoch %d, which nobody accepted", h.name, e)
		return
	}
	for b := range w.Buckets {
		if load.table>>b&1 == 1 && v.Owners[b] != h.id {
			w.fail("invariant 6: %s takes bucket %d, which view %d gives to %d", h.name, b, e, v.Owners[b])
		}
		var old member.Set
		for _, move := range v.Moves {
			if int(move.Bucket) == b {
				old = move.Old
			}
		}
		if (load.table&^load.owned)>>b&1 == 1 && old == 0 {
			w.fail("flows: %s acquires bucket %d, which nobody keeps in view %d", h.name, b, e)
		}
		waits := v.Owners[b] == h.id && old != 0 // it comes back, to flows that it has still
		if load.drains>>b&1 == 1 && !old.Has(h.id) && !waits {
			w.fail("flows: %s drains bucket %d, which view %d does not let it keep", h.name, b, e)
		}
	}
	if e < h.acted && !c.forgetful(v.Voters) && !c.forgetful(c.byEpoch[h.acted].Voters) {
		w.fail("invariant 6: %s acts on epoch %d after %d", h.name, e, h.acted)
	}
	h.acted = max(h.acted, e)
	if c.acted[e] {
		return
	}
	c.acted[e] = true
	for _, voters := range []member.Set{v.Voters, v.OldVoters} {
		if a := c.accepted[e] & voters; 2*a.Len() <= voters.Len() || v.Alone && a != voters {
			w.fail("invariant 6: %s acts on view %d, but of its voters %s only %s have it on disk", h.name, e, nodes(voters), nodes(a))
		}
	}
	c.chain(w, v)
	if c.line = append(c.line, v); len(c.line) > mostViews {
		w.fail("restless: %d views were acted on, the last one because %s", len(c.line), v.Reason)
	}
	if c.newest == nil || v.Epoch > c.newest.Epoch {
		c.newest = v
	}
	w.settled()
}

// chain checks that the views that were acted on are one line: none of them is
// passed over by the parent of a later one. Nodes that went on alone begin
// lines of their own, and nobody else does.
func (c *chosen) chain(w *World, v *member.View) {
	if c.forgetful(v.Voters) {
		return
	}
	if parent := c.views[v.Parent]; parent != nil && parent.Lineage != v.Lineage && !v.Alone {
		w.fail("invariant 6: view %d begins a line of its own, but was not made alone", v.Epoch)
	}
	for _, u := range c.line {
		if c.forgetful(u.Voters) || u.Lineage != v.Lineage && (w.Available || c.anew[u.Lineage] || c.anew[v.Lineage]) {
			continue
		}
		early, late := u, v
		if early.Epoch > late.Epoch {
			early, late = late, early
		}
		if at := c.back(late, early.Epoch); at != nil && at != early {
			w.fail("invariant 6: views %d and %d were both acted on, but the later one follows %d", early.Epoch, late.Epoch, at.Epoch)
			return
		}
	}
}

// back follows a view's parents until one is not above an epoch; nil: that one
// was never accepted.
func (c *chosen) back(v *member.View, e member.Epoch) *member.View {
	for v != nil && v.Epoch > e {
		v = c.views[v.Parent]
	}
	return v
}

// fair checks invariant 5: each node's number of buckets is its quota, rounded
// down or up, and no table that says so moves fewer of the parent's.
func (c *chosen) fair(w *World, v *member.View) {
	have, want := [member.MaxNodes + 1]int{}, [member.MaxNodes + 1]int{}
	total := 0
	for i, e := range v.Members {
		if e.State == member.Serving {
			want[i+1] = int(e.Weight)
			total += want[i+1]
		}
	}
	if total == 0 {
		return
	}
	for _, n := range v.Owners {
		have[n]++
	}
	for n := range have {
		low := w.Buckets * want[n] / total
		high := (w.Buckets*want[n] + total - 1) / total
		if have[n] < low || have[n] > high {
			w.fail("invariant 5: view %d gives node %d %d buckets of %d, its quota is %d to %d", v.Epoch, n, have[n], w.Buckets, low, high)
		}
	}
	parent := c.views[v.Parent]
	if parent == nil {
		return
	}
	moved := 0
	for b, n := range v.Owners {
		if parent.Owners[b] != n {
			moved++
		}
	}
	if least := fewest(parent.Owners, want[:], total); moved != least {
		w.fail("invariant 5: view %d moves %d buckets of view %d, %d would do", v.Epoch, moved, v.Parent.Epoch, least)
	}
}

// fewest is the least number of buckets that have to change hands so that each
// node has its quota, rounded down or up. Whoever has more than its quota
// rounded down may keep one of them, as long as there are such odd ones.
func fewest(owners []member.NodeID, weights []int, total int) int {
	have := make([]int, len(weights))
	for _, n := range owners {
		have[n]++
	}
	moves, odd, keepers := 0, len(owners), 0
	for n, weight := range weights {
		low := len(owners) * weight / total
		odd -= low
		if have[n] > low {
			moves += have[n] - low
			if len(owners)*weight%total != 0 {
				keepers++
			}
		}
	}
	return moves - min(odd, keepers)
}
