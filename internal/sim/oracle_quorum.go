package sim

import (
	"slices"

	"github.com/shoal-net/shoal/internal/member"
)

// examine decides whether a host is fit.
func (c *coverage) examine(w *World, i int, h *host) {
	l := look{powered: h.powered, running: h.goesOn(w), outside: h.outside, leaving: h.leaving, carrier: h.carrier,
		life: h.life, slow: h.slow, late: h.late, fenced: h.fenced, listed: h.config.Listed, weight: w.weight(h), sweeping: h.agent.sweeping, blank: h.disk.content == nil}
	for iface := range w.Interfaces {
		for j, other := range w.hosts {
			if j != i && w.hears(h, other, iface) {
				l.hears[iface] |= 1 << j
			}
			if j != i && w.hears(other, h, iface) {
				l.heard[iface] |= 1 << j
			}
		}
	}
	for j := range w.hosts {
		if w.network.loss[i][j] > 0 || w.network.loss[j][i] > 0 {
			l.lossy |= 1 << j
		}
	}
	if l != c.look[i] {
		c.look[i], c.changed[i] = l, w.now
	}
	fit := h.goesOn(w) && h.tear == 0 && h.carrier == 1<<w.Interfaces-1 && h.slow == 0 && h.late == 0 &&
		!l.blank && !h.leaving && !h.stuck && !h.agent.sweeping
	ripe := max(h.born+w.patience(), h.fenced+w.patience()+longest(2*w.Interval)) + longest(w.Interval*3/2)
	switch {
	case !fit || w.now < ripe:
		if c.fit[i] = never; fit && c.ripe[i] != ripe {
			c.ripe[i] = ripe
			w.queue.push(event{at: ripe, kind: ripen, host: uint8(i)})
		}
	case c.fit[i] == never:
		c.fit[i] = w.now + longest(w.Interval*3/2)
	}
}

// hearWell reports whether nothing that one host sends is lost on its way to
// another.
func (w *World) hearWell(to, from *host) bool {
	n := &w.network
	if n.weather.loss > 0 || n.delayMax > w.usualDelay() || n.late > 0 || n.loss[from.index][to.index] > 0 {
		return false
	}
	for iface := range w.Interfaces {
		if !w.hears(to, from, iface) {
			return false
		}
	}
	return true
}

// best finds the quorum, since when it could act, and whether it is one of two
// that has to go on alone.
func (c *coverage) best(w *World) (best hostSet, since instant, alone bool) {
	fit := hostSet(0)
	for i := range w.hosts {
		if c.fit[i] != never {
			fit |= 1 << i
		}
	}
	for s := -fit & fit; s != 0; s = (s - fit) & fit { // all its subsets, ascending
		if s.len() <= best.len() {
			continue
		}
		serves, half := c.mayServe(w, s)
		if !serves {
			continue
		}
		if t, ok := c.clique(w, s); ok {
			best, since, alone = s, t, half
		}
	}
	return best, since, alone
}

// granted reports whether a host is in a set that has what it takes to serve,
// and in which all have heard each other well for so long that each has the
// others' newest echoes: where one path was mended only just before another one
// failed, neither will do.
func (c *coverage) granted(w *World, h *host) bool {
	fit := hostSet(0)
	for i := range w.hosts {
		if c.fit[i] != never {
			fit |= 1 << i
		}
	}
	for s := -fit & fit; s != 0; s = (s - fit) & fit {
		if !s.has(h.index) {
			continue
		}
		if serves, _ := c.mayServe(w, s); !serves {
			continue
		}
		if since, ok := c.clique(w, s); ok && w.now >= since+longest(w.Lease+2*w.Interval)+w.slack() {
			return true
		}
	}
	return false
}

// clique reports whether all of a set are fit and hear each other, and since
// when.
func (c *coverage) clique(w *World, s hostSet) (since instant, ok bool) {
	for i, h := range w.hosts {
		if !s.has(i) {
			continue
		}
		if c.fit[i] == never || s.len() == 1 && w.lossyTo(h) {
			return 0, false
		}
		since = max(since, c.fit[i])
		for j := range i {
			if !s.has(j) {
				continue
			}
			if c.pairs[i][j] == never {
				return 0, false
			}
			since = max(since, c.pairs[i][j])
		}
	}
	return since, true
}

// lossyTo reports whether frames to a host are lost at random, of which some come.
func (w *World) lossyTo(h *host) bool {
	return w.network.weather.loss > 0 && slices.ContainsFunc(w.hosts, func(other *host) bool {
		return other != h && other.goesOn(w) && w.inTouch(h, other)
	})
}

// mayServe reports whether a set has what it takes to serve, and whether it is
// one of two voters that has to go on alone first (clauses A1, A6).
func (c *coverage) mayServe(w *World, s hostSet) (serves, alone bool) {
	var ids member.Set
	proof, isolated := false, true
	for i, h := range w.hosts {
		if !s.has(i) {
			continue
		}
		ids = ids.With(h.id)
		serves = serves || w.weight(h) > 0 && h.config.Listed.Has(h.id)
		proof = proof || h.outside
		for _, other := range w.hosts {
			if !s.has(other.index) && other.goesOn(w) && w.inTouch(h, other) {
				isolated = false
			}
		}
	}
	if ids.Len() != s.len() || !serves { // two hosts with one id
		return false, false
	}
	majority, half := true, true
	for _, voters := range w.oracle.voters() {
		majority = majority && 2*(ids&voters).Len() > voters.Len()
		half = half && 2*(ids&voters).Len() >= voters.Len()
		half = half && voters.Len() == 2
	}
	return majority || half && w.Available && isolated && proof, !majority
}

// inTouch reports whether anything that one host sends can reach the other.
func (w *World) inTouch(a, b *host) bool { return w.hearsAnywhere(a, b) || w.hearsAnywhere(b, a) }

// hearsAnywhere reports whether anything that one host sends can reach another.
func (w *World) hearsAnywhere(to, from *host) bool {
	for iface := range w.Interfaces {
		if w.hears(to, from, iface) {
			return true
		}
	}
	return false
}
