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
	active [maxHosts]uint64
	until  [maxHosts]instant // when its lease runs out
	queued [maxHosts]instant // when the next expire event is due
	owns   [maxHosts]uint64  // the buckets of which it answers for all flows

	contacts
	leases
	coverage
	chosen
}

func (o *oracle) init(w *World) {
	o.contacts.init(w)
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
	w.watch(h)
	now := h.plane.handles(h.clock.read(w.now))
	o.until[i] = w.now
	if w.plane(h) != 0 {
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
	o.interrupted(w, h, before&^now&h.plane.table)
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
		if o.excused(w, h, other) {
			w.notef("%s and %s both handle %s: they cannot hear each other", h.name, other.name, buckets(o.active[j]&gained))
			continue // looked at again when that excuse has ended
		}
		w.fail("invariant 1: %s and %s both handle %s", h.name, other.name, buckets(o.active[j]&gained))
	}
}

// count is the number of buckets in a table.
func count(table uint64) int { return bits.OnesCount64(table) }

// all is the table that has every bucket.
func (w *World) all() uint64 { return 1<<w.Buckets - 1 }
