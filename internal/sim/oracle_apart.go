package sim

import "github.com/shoal-net/shoal/internal/member"

// contacts keeps who was in touch with whom: with partition: available, nodes
// that cannot hear each other at all may handle the same buckets.
type contacts struct {
	contact [maxHosts][maxHosts]contact
	newest  [maxHosts][maxHosts]instant // when the newest frame that arrived was sent, by receiver and sender
}

// contact is what two hosts lately heard of each other, in either direction.
type contact struct {
	last instant // a frame of one arrived at the other
	gaps [4]gap  // the last ones, newest first
}

// gap is a time without a frame, until one came.
type gap struct{ start, end instant }

func (c *contacts) init(w *World) {
	for i := range c.contact {
		for j := range c.contact[i] {
			c.contact[i][j].last = -2 * w.patience()
		}
	}
}

// arrived notes a frame that reached a host on which a process exists. A frame
// older than one that came before is no contact.
func (c *contacts) arrived(w *World, h *host, f *frame) {
	from := int(f.origin)
	if !w.Available || f.sentAt <= c.newest[h.index][from] || from == h.index {
		return
	}
	c.newest[h.index][from] = f.sentAt
	at := &c.contact[min(h.index, from)][max(h.index, from)]
	if w.now-at.last > w.losing(true) {
		copy(at.gaps[1:], at.gaps[:])
		at.gaps[0] = gap{at.last, w.now}
		// Who handled the same buckets under that excuse must have stopped by then.
		w.queue.push(event{at: w.now + w.grace() + 1, kind: review, host: uint8(h.index)})
	}
	at.last = w.now
}

// grace is how long two nodes that could not hear each other may both handle a
// bucket after they can: what was left of a lease.
func (w *World) grace() instant { return longest(w.Lease) + w.network.delayMax }

// losing is after how much silence two nodes have lost touch: a lease, or where
// one of two voters may have extended its own, what it waits with that
// (clause A6), by the fastest clock.
func (w *World) losing(two bool) instant {
	if two {
		return instant(w.Lease-2*w.Interval) * 100 / 101
	}
	return instant(w.Lease)
}

// excused reports whether two hosts may both handle a bucket: they act on views
// of different lines, of which one was begun by nodes that went on alone, and
// at some instant not longer ago than a lease, by the slowest clock, they had
// lost touch: nothing that either of them or anybody in touch with it sent had
// arrived at the other side. The excuse is by frames that the network lost:
// what waits for a stopped process has arrived.
func (o *oracle) excused(w *World, a, b *host) bool {
	u, v := o.actsOn(a), o.actsOn(b)
	if !w.Available || u == nil || v == nil || u.Lineage == v.Lineage {
		return false
	}
	two := o.single[u.Lineage] || o.single[v.Lineage]
	since := w.now - w.grace()
	instants := []instant{w.now}
	for i := range w.hosts {
		for j := range i {
			for _, g := range o.contact[j][i].gaps {
				if g.end >= since && g.end > 0 {
					instants = append(instants, g.end-1)
				}
			}
		}
	}
	for _, at := range instants {
		if !o.together(w, a.index, at, w.losing(two)).has(b.index) {
			return true
		}
	}
	return false
}

// actsOn returns the view of the table that a host's data plane has.
func (o *oracle) actsOn(h *host) *member.View {
	return o.byEpoch[member.Epoch(h.plane.tableEpoch)]
}

// together returns the hosts that were in touch with one at an instant, also by
// way of others.
func (c *contacts) together(w *World, a int, at, losing instant) hostSet {
	group := hostSet(1) << a
	for {
		grown := group
		for i := range w.hosts {
			for j := range i {
				if (grown.has(i) || grown.has(j)) && c.contact[j][i].touch(at, losing) {
					grown |= 1<<i | 1<<j
				}
			}
		}
		if grown == group {
			return group
		}
		group = grown
	}
}

// touch reports whether a frame arrived within some time before an instant.
func (c *contact) touch(at, within instant) bool {
	last := c.last
	for _, g := range c.gaps {
		if at < g.end {
			last = g.start
		}
	}
	return at <= last+within
}
