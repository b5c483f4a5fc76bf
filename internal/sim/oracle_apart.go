package sim

import (
	"time"

	"github.com/shoal-net/shoal/internal/member"
)

// contacts keeps who was in touch with whom: with partition: available, nodes
// that cannot hear each other at all may handle the same buckets.
type contacts struct {
	contact [maxHosts][maxHosts]contact
	last    [maxHosts][maxHosts]instant // when a frame arrived last, by receiver and sender
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
			c.contact[i][j].last, c.last[i][j] = -2*w.patience(), -2*w.patience()
		}
	}
}

// arrived notes a frame that reached a host on which a process exists. A
// heartbeat older than one that came before is no contact, nor is one of a node
// that is not in the receiver's file, nor any other message; nor one of a node
// that neither serves nor warns that it will; nor one from before it went on alone.
func (c *contacts) arrived(w *World, h *host, f *frame) {
	from := int(f.origin)
	beat, ok := f.message.Body.(*member.Heartbeat)
	if !ok {
		return
	}
	if f.sentAt <= c.newest[h.index][from] || from == h.index || !h.config.Listed.Has(w.hosts[from].id) {
		return
	}
	c.newest[h.index][from], c.last[h.index][from] = f.sentAt, w.now
	serves := beat.State == member.Serving || beat.State == member.Draining || beat.State == member.Leaving
	if !w.Available || !serves && !beat.Alone { // it tells the receiver nothing to stop for
		return
	}
	if v := w.oracle.actsOn(w.hosts[from]); v != nil && v.Lineage != beat.Lineage && !beat.Alone {
		return // nor does what comes so late that the sender has begun another line since
	}
	at := &c.contact[min(h.index, from)][max(h.index, from)]
	if w.now-at.last > w.losing() {
		copy(at.gaps[1:], at.gaps[:])
		at.gaps[0] = gap{at.last, w.now}
		// Who handled the same buckets under that excuse must have stopped by then.
		w.queue.push(event{at: w.now + w.grace() + 1, kind: review, host: uint8(h.index)})
	}
	at.last = w.now
}

// word returns when the last frame of a host arrived anywhere.
func (c *contacts) word(from int) instant {
	t := instant(0)
	for to := range c.last {
		t = max(t, c.last[to][from])
	}
	return t
}

// grace is how long two nodes that could not hear each other may both handle a
// bucket after they can: what was left of a lease, when the view of the one that
// went on alone last was on disk.
func (w *World) grace() instant { return longest(w.Lease) + w.network.slowest + w.Sync }

// losing is after how much silence two nodes have lost touch: extending, by the
// fastest clock. Later one may go on alone (clause A1).
func (w *World) losing() instant { return instant(w.extending()) * 100 / 101 }

// extending is what one of two voters waits before it extends its own lease (clause A6).
func (w *World) extending() time.Duration { return max(w.Lease-2*w.Interval, 3*w.Interval/2) }

// excused reports whether two hosts may both handle a bucket: they act on views
// of different lines, of which one was begun by a node that went on alone, and
// at some instant not longer ago than a lease, by the slowest clock, they had
// lost touch. The excuse is by frames that the network lost: what waits for a
// stopped process has arrived. Or one line began where nobody could know better:
// by voters without memory, or while the files listed different nodes.
func (o *oracle) excused(w *World, a, b *host) bool {
	u, v := o.actsOn(a), o.actsOn(b)
	if u == nil || v == nil || u.Lineage == v.Lineage {
		return false
	}
	if o.anew[u.Lineage] || o.anew[v.Lineage] {
		return true
	}
	if !w.Available {
		return false
	}
	since := w.now - w.grace()
	instants := []instant{w.now}
	for _, g := range o.contact[min(a.index, b.index)][max(a.index, b.index)].gaps {
		if g.end >= since && g.end > 0 {
			instants = append(instants, g.end-1)
		}
	}
	for _, at := range instants {
		if !o.together(a, b, at, w.losing()) {
			return true
		}
	}
	return false
}

// actsOn returns the view of the table that a host's data plane has.
func (o *oracle) actsOn(h *host) *member.View {
	return o.byEpoch[member.Epoch(h.plane.tableEpoch)]
}

// inForce is the view that a host acts on under a lease, or else the newest that
// another one does: it joins that one. Where nobody does it is the last one of the
// host's own.
func (w *World) inForce(h *host) (v *member.View) {
	for _, other := range w.hosts {
		u := w.oracle.actsOn(other)
		if u == nil || !other.plane.leased(other.clock.read(w.now)) {
			continue
		}
		if other == h {
			return u
		}
		if v == nil || u.Epoch > v.Epoch {
			v = u
		}
	}
	if v == nil {
		v = w.oracle.actsOn(h)
	}
	return v
}

// together reports whether a frame of one of two hosts had lately arrived at the
// other.
func (c *contacts) together(a, b *host, at, within instant) bool {
	return c.contact[min(a.index, b.index)][max(a.index, b.index)].touch(at, within)
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
