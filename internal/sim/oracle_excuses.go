package sim

import "github.com/shoal-net/shoal/internal/member"

// With partition: available a node may have to stop for others that it cannot
// be sure of: invariants 3 and 4 ask less then, and in a few other cases.

// unsettled reports whether a quorum cannot be held to anything: a process
// outside it is in touch with one inside, in either direction, and may serve
// alone, or warn that it will (clause A4).
func (c *coverage) unsettled(w *World) bool {
	for i, h := range w.hosts {
		if c.quorum.has(i) || !h.goesOn(w) {
			continue
		}
		for j, other := range w.hosts {
			if c.quorum.has(j) && w.inTouch(h, other) {
				return true
			}
		}
	}
	return false
}

// left reports whether somebody was in the quorum before and goes on outside it: it
// may have warned that it will serve alone.
func (c *coverage) left(w *World, before hostSet) bool {
	for i, h := range w.hosts {
		if before.has(i) && !c.quorum.has(i) && h.goesOn(w) {
			return true
		}
	}
	return false
}

// warning is how much longer it may take until a quorum serves of which nobody
// does: one of two that begins alone warns first (clause A4).
func (c *coverage) warning(w *World) instant {
	for i := range w.hosts {
		if c.quorum.has(i) && w.oracle.active[i]&c.handled != 0 {
			return 0
		}
	}
	return w.patience() + longest(2*w.Interval)
}

// relayed reports whether recordings, or frames that are late, tell a quorum what a
// process outside it says that is hardly heard otherwise, so that it seems to come
// and go. With partition: available the last of them counts for as long as what a
// node says itself: one that was not heard before cannot be told from a node that
// has long been deaf, and may serve alone (clause A4).
func (c *coverage) relayed(w *World) bool {
	for i, h := range w.hosts {
		// With partition: available a recording of a warning is heeded, too, whoever
		// is dead (clause A4).
		if w.network.weather.replay+w.network.late > 0 && !c.quorum.has(i) && (h.goesOn(w) || w.Available) {
			return true
		}
	}
	return false
}

// opposes notes whether a process takes in that another one serves in another line,
// or warns that it will.
func (o *oracle) opposes(w *World, h *host, f *frame, v member.Verdict) {
	beat, ok := f.message.Body.(*member.Heartbeat)
	if !ok || v != member.Taken && v != member.Unproved {
		return
	}
	serves := beat.State == member.Serving || beat.State == member.Draining || beat.State == member.Leaving
	o.opposed[h.index][f.origin] = 0
	if acts := o.actsOn(h); beat.Alone || serves && acts != nil && acts.Lineage != beat.Lineage {
		o.opposed[h.index][f.origin] = w.now
	}
}

// survives reports whether a host stops for another one that served in another line,
// or warned, when it was last heard, and is gone since: one that was stopped, or cut
// off, may have said so before, and have had no time to say that it does so no more
// (clause A4).
func (o *oracle) survives(w *World, h *host) bool {
	for j, other := range w.hosts {
		if at := o.opposed[h.index][j]; at > 0 && !other.goesOn(w) && w.now-at < w.patience() {
			return true
		}
	}
	return false
}

// undecided reports whether it is not clear whose word counts: there is no first
// view yet, and the files differ; or most of those who know the newest view have
// lost their memory, and the others have begun anew.
func (c *coverage) undecided(w *World) bool {
	newest := w.oracle.chosen.newest
	for i, h := range w.hosts {
		if !c.quorum.has(i) {
			continue
		}
		if newest == nil && h.config.Listed != w.listed {
			return true
		}
		if v := w.oracle.actsOn(h); newest != nil && v != nil && v.Lineage != newest.Lineage && w.oracle.forgetful(newest.Voters) {
			return true
		}
	}
	return false
}

// exempt reports whether nothing can be asked of the quorum as things are. What
// is asked later counts from the end of that.
func (c *coverage) exempt(w *World) bool {
	return w.retiring(c.quorum) || c.relayed(w) || c.undecided(w)
}

// retiring reports whether the voters let no host of a set serve: who is retired
// goes, also where nobody else serves.
func (w *World) retiring(s hostSet) bool {
	for i, h := range w.hosts {
		if s.has(i) && w.weight(h) > 0 && h.config.Listed.Has(h.id) && w.admits(s, h) {
			return false
		}
	}
	return true
}

// admits reports whether the voters in a set let a host serve: it is not missing
// in the files of a majority of all voters (clause V6); and if they do not listen
// to it for having been in the view or a voter, it is in the files of a majority
// (clause P3).
func (w *World) admits(s hostSet, h *host) bool {
	known := false
	for _, v := range []*member.View{w.oracle.chosen.newest, w.oracle.latest} {
		known = known || v != nil && (v.Members[h.id-1].Incarnation != 0 || (v.Voters|v.OldVoters).Has(h.id))
	}
	var with, without member.Set
	for i, other := range w.hosts {
		switch {
		case !s.has(i):
		case other.config.Listed.Has(h.id):
			with = with.With(other.id)
		default:
			without = without.With(other.id)
		}
	}
	for _, voters := range w.oracle.voters() {
		if 2*(without&voters).Len() > voters.Len() || !known && 2*(with&voters).Len() <= voters.Len() {
			return false
		}
	}
	return true
}
