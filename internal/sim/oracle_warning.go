package sim

// With partition: available a node may have to stop for others that it cannot
// be sure of, so that invariants 3 and 4 ask less.

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

// warning is how much longer it may take until a quorum serves of which nobody
// does: one of two that begins alone warns first (clause A4).
func (c *coverage) warning(w *World) instant {
	for i := range w.hosts {
		if c.quorum.has(i) && w.oracle.active[i] != 0 {
			return 0
		}
	}
	return w.patience() + longest(2*w.Interval)
}
