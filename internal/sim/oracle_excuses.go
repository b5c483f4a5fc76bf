package sim

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
// and go.
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

// retiring reports whether no host of a set that serves is in its own file and in
// those of the voters: who is retired goes, also where nobody else serves.
func (w *World) retiring(s hostSet) bool {
	for i, h := range w.hosts {
		if s.has(i) && w.weight(h) > 0 && h.config.Listed.Has(h.id) && w.wanted(s, h) {
			return false
		}
	}
	return true
}

// wanted reports whether the voters of a set let a host serve by their files
// (clause V6): one that the view has, or had, unless a majority has it not; any
// other is heard only by those that have it, and needs a majority (clause P3).
func (w *World) wanted(s hostSet, h *host) bool {
	for _, voters := range w.oracle.voters() {
		with, without := 0, 0
		for i, other := range w.hosts {
			switch {
			case !s.has(i) || !voters.Has(other.id):
			case other.config.Listed.Has(h.id):
				with++
			default:
				without++
			}
		}
		known := voters.Has(h.id) || w.oracle.latest.Members[h.id-1].Incarnation != 0
		if 2*without > voters.Len() || !known && 2*with <= voters.Len() {
			return false
		}
	}
	return true
}
