package sim

import "math/rand/v2"

// flow is a client's connection: packets to one bucket, of which the first one
// opens it. Each reaches all data planes at one instant.
type flow struct {
	bucket  int
	host    int     // index of the one that took it; -1: none has
	ends    instant // the client is done with it
	over    bool    // … or was told that it is broken
	safe    bool    // its host has had a lease ever since, and was not asked to give it up
	there   bool    // its host still has it
	stale   bool    // another owned the bucket when its host was in no view …
	lineage uint64  // … of this line
}

// clients open flows and send packets.
type clients struct {
	random *rand.Rand
	flows  []flow
	quiet  bool // no new long ones
	opened int
	resets int // flows that were broken, of nodes that failed
}

const openFlows = 24 // at a time, at most

// pause is the time between two packets of a flow.
func (w *World) pause() instant { return draw(w.clients.random, 2*millisecond, 40*millisecond) }

// open has a client open a flow, and the next one some time later.
func (w *World) open() {
	c := &w.clients
	w.queue.push(event{at: w.now + draw(c.random, millisecond, 20*millisecond), kind: opens})
	at := -1
	for i := range c.flows {
		if f := &c.flows[i]; f.over && !f.there {
			at = i
		}
	}
	if at < 0 && len(c.flows) == openFlows {
		return
	}
	if at < 0 {
		at = len(c.flows)
		c.flows = append(c.flows, flow{})
	}
	span := draw(c.random, millisecond, 150*millisecond)
	if !c.quiet && c.random.IntN(4) == 0 {
		span = draw(c.random, 0, 3*second)
	}
	c.flows[at] = flow{bucket: c.random.IntN(w.Buckets), host: -1, ends: w.now + span}
	w.packet(at)
}

// hush ends the flows that there are soon, and has no long ones begin.
func (w *World) hush() {
	w.clients.quiet = true
	for i := range w.clients.flows {
		f := &w.clients.flows[i]
		f.ends = min(f.ends, w.now+100*millisecond)
	}
}

// packet sends the next packet of a flow.
func (w *World) packet(i int) {
	f := &w.clients.flows[i]
	if f.over {
		return
	}
	if w.now >= f.ends && w.closed(f) {
		f.over = true
		return
	}
	w.delivered(f)
	if !f.over {
		w.queue.push(event{at: w.now + w.pause(), kind: talks, ref: uint32(i)})
	}
}

// patienceToClose is how long a client tries to end a flow.
const patienceToClose = 500 * millisecond

// closed has both sides end a flow, if its host takes the packet that says so. In
// the end the client goes, and what its host has stays there.
func (w *World) closed(f *flow) bool {
	if f.host < 0 || !f.there {
		return true
	}
	if h := w.hosts[f.host]; w.plane(h)>>f.bucket&1 == 1 {
		f.there = false
		return true
	}
	return w.now >= f.ends+patienceToClose
}

// delivered has all data planes decide on a packet of a flow.
func (w *World) delivered(f *flow) {
	by, resets := -1, false
	for i, h := range w.hosts {
		p := &h.plane
		if !p.leased(h.clock.read(w.now)) {
			continue
		}
		takes, owns, drains := p.table>>f.bucket&1 == 1, p.owned>>f.bucket&1 == 1, p.drains>>f.bucket&1 == 1
		has := f.host == i && f.there
		switch {
		case f.host < 0 && takes, has && (takes || drains):
		case f.host >= 0 && owns:
		default:
			continue
		}
		if by >= 0 && !w.oracle.excused(w, w.hosts[by], h) {
			w.fail("flow doubled: %s and %s both handle a packet to bucket %d", w.hosts[by].name, h.name, f.bucket)
		}
		if by < 0 || has {
			by, resets = i, f.host >= 0 && !has
		}
	}
	w.judge(f, by, resets)
	switch {
	case by < 0:
	case resets:
		f.over = true
		w.clients.resets++
	case f.host < 0:
		f.host, f.safe, f.there = by, true, true
		w.clients.opened++
	}
}

// judge checks what became of a packet.
func (w *World) judge(f *flow, by int, resets bool) {
	if f.host < 0 || w.doubled() {
		return
	}
	h := w.hosts[f.host]
	switch {
	case by < 0 && f.safe:
		w.fail("flow lost: nobody handles one to bucket %d that %s has had all the time", f.bucket, h.name)
	case resets && f.safe && !w.oracle.excused(w, h, w.hosts[by]):
		w.fail("flow reset: %s resets one to bucket %d that %s has had all the time", w.hosts[by].name, f.bucket, h.name)
	case by == f.host && !resets && f.stale && w.outlived(h, f):
		w.fail("flow outlived: %s handles one to bucket %d that others have answered for", h.name, f.bucket)
	}
}

// outlived reports whether a host acts on the line of views in which others have
// answered for a flow that it has, and might have known.
func (w *World) outlived(h *host, f *flow) bool {
	v := w.oracle.actsOn(h)
	return v != nil && v.Lineage == f.lineage && !w.oracle.forgetful(v.Voters)
}

// doubled reports whether two hosts have one id.
func (w *World) doubled() bool { return len(w.hosts) > w.Nodes+w.Spare }

// watch follows what a data plane does to flows, after something about it
// changed, or its lease may have run out.
func (w *World) watch(h *host) {
	i, p := h.index, &h.plane
	leased := p.leased(h.clock.read(w.now))
	owns := uint64(0)
	if leased {
		owns = p.owned
	}
	gained := owns &^ w.oracle.owns[i]
	w.oracle.owns[i] = owns
	v := w.oracle.actsOn(h)
	for k := range w.clients.flows {
		f := &w.clients.flows[k]
		if f.host == i && !leased {
			f.safe = false
		}
		if f.host >= 0 && f.host != i && f.there && gained>>f.bucket&1 == 1 && v != nil && !v.Members[w.hosts[f.host].id-1].Live() {
			f.stale, f.lineage = true, v.Lineage
		}
		if f.host == i && f.there && f.stale && leased && p.table|p.drains != 0 && !w.doubled() && w.outlived(h, f) && v.Members[h.id-1].Live() {
			w.fail("flow outlived: %s takes part again with flows that others have answered for", h.name)
		}
	}
}

// destroy takes flows away from a host, silently.
func (w *World) destroy(h *host, buckets uint64) {
	for k := range w.clients.flows {
		if f := &w.clients.flows[k]; f.host == h.index && buckets>>f.bucket&1 == 1 {
			f.there = false
		}
	}
}

// has is the set of buckets that a host has flows of.
func (w *World) has(h *host) (s uint64) {
	for k := range w.clients.flows {
		if f := &w.clients.flows[k]; f.host == h.index && f.there {
			s |= 1 << f.bucket
		}
	}
	return s
}

// kept is the set of buckets that any host has flows of.
func (w *World) kept() (s uint64) {
	for _, h := range w.hosts {
		s |= w.has(h)
	}
	return s
}

// weight is what a node is to get: as was ordered, else as its file says, as far
// as its health allows.
func (w *World) weight(h *host) uint16 {
	weight, v := h.config.Weight, w.oracle.latest
	if v != nil && w.oracle.forgetful(v.Voters) {
		v = w.inForce(h) // what was ordered may be forgotten, too
	}
	if v != nil {
		e := v.Members[h.id-1]
		if e.Drained != 0 {
			return 0
		}
		if weight > 0 && e.OrderedBy != 0 {
			weight = e.Ordered
		}
	}
	return min(weight, h.limit)
}
