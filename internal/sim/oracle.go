package sim

import (
	"math/bits"
	"time"

	"github.com/shoal-net/shoal/internal/member"
)

// oracle sees all: every data plane, the true time, and which frames arrived
// where. It is told what happens and fails the run at the first violation.
// Invariants are numbered as in docs/protocol.md.
type oracle struct {
	// Invariant 1: what each data plane handles now.
	active  [maxHosts]uint64
	until   [maxHosts]instant // when its lease runs out
	queued  [maxHosts]instant // when the next expire event is due
	contact [maxHosts][maxHosts]contact

	newest [maxHosts][maxHosts]instant // when the newest frame that arrived was sent, by receiver and sender

	// Invariant 2: the newest stamp that a host's processes took in, by
	// receiver and sender.
	seen [maxHosts][maxHosts]member.Time

	coverage
	chosen
}

func (o *oracle) init(w *World) {
	for i := range o.contact {
		for j := range o.contact[i] {
			o.contact[i][j] = contact{last: -2 * w.patience(), gapEnd: never}
		}
	}
	o.coverage.init(w)
	o.chosen.init()
}

// longest is the longest time, in truth, that passes while some clock shows d.
func longest(d time.Duration) instant { return instant(d) * 100 / 99 }

// patience is the longest time in truth that a voter waits before it votes a
// silent node out.
func (w *World) patience() instant { return longest(w.Lease * member.Drift / 1000) }

// refresh looks at a data plane after something about it changed, or its lease
// may have run out.
func (o *oracle) refresh(w *World, h *host) {
	i := h.index
	now := h.plane.handles(h.clock.read(w.now))
	o.until[i] = w.now
	if now != 0 {
		o.until[i] = h.clock.when(h.plane.deadline, w.now)
		if o.queued[i] <= w.now || o.queued[i] > o.until[i] {
			o.queued[i] = o.until[i]
			w.queue.push(event{at: o.until[i], kind: expire, host: uint8(i)})
		}
	}
	before := o.active[i]
	if now == before {
		return
	}
	o.interrupted(w, h, before&^now)
	o.active[i] = now
	w.notef("%s handles %s", h.name, buckets(now))
	if gained := now &^ before; gained != 0 {
		o.alone(w, h, gained)
	}
	o.covered(w, h, before, now)
}

// alone checks invariant 1: no data plane handles what another one does.
func (o *oracle) alone(w *World, h *host, gained uint64) {
	for j, other := range w.hosts {
		if j == h.index || o.active[j]&gained == 0 {
			continue
		}
		if w.Available && o.apart(w, h.index, j) {
			w.notef("%s and %s both handle %s: they cannot hear each other", h.name, other.name, buckets(o.active[j]&gained))
			continue // looked at again when that excuse has ended
		}
		w.fail("invariant 1: %s and %s both handle %s", h.name, other.name, buckets(o.active[j]&gained))
	}
}

// contact is what two hosts lately heard of each other, in either direction.
type contact struct {
	last     instant // a frame of one arrived at the other
	gapStart instant // the last gap that was longer than a lease …
	gapEnd   instant // … and the first frame after it; never: there was no gap
}

// arrived notes a frame that reached a host on which a process exists. A frame
// older than one that came before is no contact.
func (o *oracle) arrived(w *World, h *host, f *frame) {
	from := int(f.origin)
	if f.sentAt <= o.newest[h.index][from] || from == h.index {
		return
	}
	o.newest[h.index][from] = f.sentAt
	c := &o.contact[min(h.index, from)][max(h.index, from)]
	if w.now-c.last > instant(w.Lease) {
		c.gapStart, c.gapEnd = c.last, w.now
		// Who handled the same buckets under that excuse must have stopped by then.
		w.queue.push(event{at: w.now + w.grace() + 1, kind: review, host: uint8(h.index)})
	}
	c.last = w.now
}

// taken notes a frame that a process takes in.
func (o *oracle) taken(h *host, f *frame) {
	if beat, ok := f.message.Body.(*member.Heartbeat); ok {
		s := &o.seen[h.index][f.origin]
		*s = max(*s, beat.Sent)
	}
}

// grace is how long two nodes that could not hear each other may both handle a
// bucket after they can: what was left of a lease.
func (w *World) grace() instant { return longest(w.Lease) + w.network.delayMax }

// apart reports whether two hosts are excused from invariant 1: at some instant
// not longer ago than a lease, by the slowest clock, nothing that either of
// them or anybody in touch with it sent had arrived at the other side for a
// lease before. The excuse is by frames that the network lost: what waits for a
// stopped process has arrived.
func (o *oracle) apart(w *World, a, b int) bool {
	since := w.now - w.grace()
	instants := []instant{w.now}
	for i := range w.hosts {
		for j := range i {
			if end := o.contact[j][i].gapEnd; end != never && end >= since {
				instants = append(instants, end-1)
			}
		}
	}
	for _, at := range instants {
		if !o.together(w, a, at).has(b) {
			return true
		}
	}
	return false
}

// together returns the hosts that were in touch with one at an instant, also by
// way of others.
func (o *oracle) together(w *World, a int, at instant) hostSet {
	group := hostSet(1) << a
	for {
		grown := group
		for i := range w.hosts {
			for j := range i {
				if o.touch(w, j, i, at) && (grown.has(i) || grown.has(j)) {
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

// touch reports whether a frame between two hosts arrived within a lease
// before an instant.
func (o *oracle) touch(w *World, a, b int, at instant) bool {
	c := &o.contact[a][b]
	if c.gapEnd != never && at < c.gapEnd {
		return at <= c.gapStart+instant(w.Lease)
	}
	return at <= c.last+instant(w.Lease)
}

// leased checks invariant 2: a lease ends at the latest L after the sending of
// a heartbeat that a majority of voters has received, the holder included.
func (o *oracle) leased(w *World, h *host, fx *member.Effects) {
	if fx.LeaseDeadline == 0 {
		return
	}
	if limit := h.clock.read(w.now) + w.Lease; fx.LeaseDeadline > limit {
		w.fail("invariant 2: the lease of %s ends %v after now + L", h.name, fx.LeaseDeadline-limit)
	}
	v := o.byEpoch[member.Epoch(fx.LeaseEpoch)]
	if v == nil {
		w.fail("invariant 6: the lease of %s is for epoch %d, which nobody accepted", h.name, fx.LeaseEpoch)
		return
	}
	for _, voters := range []member.Set{v.Voters, v.OldVoters} {
		var granted member.Set
		for j, other := range w.hosts {
			if j == h.index || o.seen[j][h.index]+w.Lease >= fx.LeaseDeadline {
				granted = granted.With(other.id)
			}
		}
		if 2*(granted&voters).Len() <= voters.Len() {
			w.fail("invariant 2: the lease of %s ends at %v, but of voters %b only %b have heard what it sent within L before",
				h.name, fx.LeaseDeadline, voters, granted&voters)
		}
	}
}

// count is the number of buckets in a table.
func count(table uint64) int { return bits.OnesCount64(table) }

// all is the table that has every bucket.
func (w *World) all() uint64 { return 1<<w.Buckets - 1 }
