package sim

import (
	"math/bits"
	"time"

	"github.com/shoal-net/shoal/internal/member"
)

// coverage watches that buckets are handled at all: invariants 3 and 4. What a
// node can be held to depends on what the network lets it do, so it also keeps
// who can hear whom.
//
// The quorum is the largest set of hosts that are fit (power, links and process
// up, running, on time, done with the silence after a start), hear each other
// without loss on every interface, and may serve: a majority of the voters
// among them and a node that serves; with partition: available also one of two
// voters that nobody else can hear or be heard by, and that something outside
// answers. Nothing is asked of a quorum while two hosts with one id are there, or
// until a lease after all of it have the memory that a voter needs; with
// partition: available, while anybody outside it is in touch with it (clause A4).
type coverage struct {
	handled uint64      // by anyone
	open    [64]instant // since when nobody has handled a bucket

	fit     [maxHosts]instant           // since when; never: it is not
	ripe    [maxHosts]instant           // when a start is long enough ago
	pairs   [maxHosts][maxHosts]instant // since when two hear each other well; never: they do not
	changed [maxHosts]instant           // when anything about a host last changed
	look    [maxHosts]look
	quorum  hostSet
	alone   bool              // it is one of two voters
	since   instant           // when the quorum could act
	begun   instant           // when there was one again
	peace   instant           // until when it could not be held to anything
	spared  bool              // it cannot, as things are: see exempt
	heeds   bool              // others that may serve were in touch with it
	relays  bool              // recordings told it of others
	next    instant           // when check is due, if nothing happens before
	within  [maxHosts]instant // since when a host has been in some quorum; never: it is not
	worst   instant           // longest time over the calm that a bucket took, for the report
}

// look is all that decides how fit a host is; when it changes the host changed.
type look struct {
	powered, running, outside, leaving bool
	carrier                            uint8
	life                               uint32
	slow, late                         instant
	fenced                             instant
	listed                             member.Set
	weight                             uint16
	blank, sweeping                    bool
	hears, heard                       [maxInterfaces]hostSet
	lossy                              hostSet
}

func (c *coverage) init(w *World) {
	for i := range maxHosts {
		c.fit[i], c.within[i] = never, never
		for j := range maxHosts {
			c.pairs[i][j] = never
		}
	}
}

// slack is what a bound has to allow for besides the protocol's own time: a
// failover takes up to six messages one after another, and five writes where two
// propose.
func (w *World) slack() instant {
	slowest := instant(0)
	for _, h := range w.hosts {
		slowest = max(slowest, h.disk.slowest)
	}
	return 6*w.network.delayMax + 5*slowest
}

// bound is invariant 4: from the last packet of a bucket's owner until another
// handles it, by the slowest clock.
func (w *World) bound() instant {
	d := w.patience() + longest(2*w.Interval) + 5*millisecond + w.slack()
	if w.Available {
		d += 2 * millisecond // an answer from outside
	}
	return d
}

// moveBound is how long a planned move may interrupt a bucket: the gainer waits
// for the word of the loser.
func (w *World) moveBound() instant {
	return longest(2*w.Interval) + 5*millisecond + w.slack()
}

// conditions is called whenever something changed that decides who can hear
// whom, or who is needed.
func (c *coverage) conditions(w *World) {
	if c.spared { // until now
		c.peace = max(c.peace, w.now)
	}
	for i, h := range w.hosts {
		c.examine(w, i, h)
	}
	c.check(w)
	for i, a := range w.hosts {
		for j, b := range w.hosts[:i] {
			good := c.fit[i] != never && c.fit[j] != never && w.hearWell(a, b) && w.hearWell(b, a)
			if !good {
				c.pairs[i][j] = never
			} else if c.pairs[i][j] == never {
				c.pairs[i][j] = w.now
			}
			c.pairs[j][i] = c.pairs[i][j]
		}
	}
	had := c.quorum != 0
	before, alone := c.quorum, c.alone
	c.quorum, c.since, c.alone = c.best(w)
	heeds := w.Available && c.unsettled(w)
	if heeds {
		c.quorum = 0
	}
	relays := w.Available && c.relayed(w)
	if heeds || c.heeds || relays || c.relays || w.Available && c.left(w, before) { // what was said last, for so long
		c.peace = max(c.peace, w.now+w.patience())
	}
	c.heeds, c.relays = heeds, relays
	back := alone && c.quorum != before // its lease stood on neither the other's word nor its own
	if !had {
		c.begun = w.now
	}
	c.since = max(c.since, c.begun)
	for i := range w.hosts {
		if !c.quorum.has(i) {
			c.within[i] = never
		} else if c.within[i] == never || back {
			c.within[i] = max(w.now, c.since)
		}
	}
	c.spared = c.quorum != 0 && c.exempt(w)
}

// gaveUp checks invariant 3 for a node that ends its own lease. One that leaves
// has handed over what its data plane has still.
func (o *oracle) gaveUp(w *World, h *host, fx *member.Effects) {
	v := o.byEpoch[member.Epoch(fx.LeaseEpoch)]
	if v != nil && v.Members[h.id-1].State == member.Leaving {
		return
	}
	o.interrupted(w, h, o.active[h.index])
}

// interrupted checks invariant 3: a node that has been in a quorum for a lease
// keeps its lease for its buckets, and does not give them up unasked, whatever
// becomes of others.
func (c *coverage) interrupted(w *World, h *host, lost uint64) {
	if lost == 0 || c.within[h.index] == never || w.now < c.within[h.index]+longest(w.Lease+2*w.Interval)+w.slack() {
		return
	}
	settling := w.now < w.oracle.voted+longest(w.Lease+2*w.Interval)+w.slack() // other voters, other grants
	if settling || w.now < c.peace || c.alone && !w.oracle.votes(h.id) || w.Available && w.oracle.survives(w, h) || c.excused(w) || !c.granted(w, h) {
		return
	}
	w.fail("invariant 3: %s loses its lease for %s although it hears %s well", h.name, buckets(lost), w.names(c.quorum))
}

// shunning is how much longer a failover may take while somebody in the quorum
// hears a host with which not all of the quorum hear each other well: one that
// restarted does not know that it is to say so, and is shunned first (clause
// L6); and while it is not silent, its word may not reach all.
func (c *coverage) shunning(w *World) instant {
	for i, h := range w.hosts {
		if c.quorum.has(i) || !h.goesOn(w) {
			continue
		}
		heard, all := false, true
		for j, other := range w.hosts {
			if c.quorum.has(j) {
				heard = heard || w.hearsAnywhere(other, h)
				all = all && w.hearWell(other, h) && w.hearWell(h, other)
			}
		}
		if heard && !all {
			return longest(w.Lease+2*w.Interval) + w.patience()
		}
	}
	return 0
}

// excused reports whether the quorum cannot be held to anything now. With
// partition: available nothing is asked of it: whoever hears a warning stops
// (clause A4), and how long that may take has no bound of its own here.
func (c *coverage) excused(w *World) bool {
	if c.exempt(w) {
		return true
	}
	for i, h := range w.hosts {
		for _, other := range w.hosts[:i] {
			if other.id == h.id && other.powered && h.powered {
				return true
			}
		}
		if !c.quorum.has(i) {
			continue
		}
		if h.process == nil { // it has just ended, and nobody knows what it was able to do
			return true
		}
		now := h.clock.read(w.now)
		if s := h.process.Status(now); !s.Voting || now-s.VotingSince < 2*w.Lease+4*w.Interval {
			return true
		}
	}
	return false
}

// covered notes that a host handles other buckets than before.
func (c *coverage) covered(w *World, h *host, before, now uint64) {
	c.check(w)
	handled := uint64(0)
	for i := range w.hosts {
		handled |= w.oracle.active[i]
	}
	for lost := c.handled &^ handled; lost != 0; lost &= lost - 1 {
		c.open[bits.TrailingZeros64(lost)] = w.now
	}
	if gained := handled &^ c.handled; gained != 0 && (w.trace != nil || w.story != nil) {
		w.traceGaps(gained)
	}
	c.handled = handled
	c.check(w) // comes due by itself from here on
}

// calm is since when nothing has disturbed the quorum: it could act, its voters
// are the ones that they were (clause V6), and the last packets of all other
// hosts have arrived, or they stay as they are.
func (c *coverage) calm(w *World) instant {
	t := max(c.since, c.peace, w.oracle.voted)
	for i, h := range w.hosts {
		switch {
		case c.quorum.has(i):
		case h.goesOn(w) || h.sentAt < 0:
			t = max(t, c.changed[i])
		default:
			t = max(t, h.sentAt, w.oracle.word(i))
		}
	}
	return t
}

// check checks invariant 4: no bucket is without owner longer than the bound.
func (c *coverage) check(w *World) {
	missing := w.all() &^ c.handled
	if missing == 0 || c.quorum == 0 || len(w.oracle.views) == 0 {
		return
	}
	calm, allowed := c.calm(w), w.bound()+c.shunning(w)
	if w.Available {
		allowed += c.warning(w)
	}
	for m := missing; m != 0; m &= m - 1 {
		b := bits.TrailingZeros64(m)
		from := max(calm, c.open[b]-w.bound()+w.moveBound())
		switch {
		case w.now-from <= allowed:
			c.worst = max(c.worst, w.now-from)
			c.lookAgain(w, from+allowed+1)
		case c.excused(w):
			c.peace = max(c.peace, w.now)
		default:
			w.fail("invariant 4: nobody has handled %s for %v, and %s, which hear each other well, were left in peace %v ago; allowed are %v",
				buckets(missing), time.Duration(w.now-c.open[b]), w.names(c.quorum),
				time.Duration(w.now-calm), time.Duration(allowed))
			return
		}
	}
}

// lookAgain has check done at an instant, too.
func (c *coverage) lookAgain(w *World, at instant) {
	if c.next <= w.now || at < c.next {
		c.next = at
		w.queue.push(event{at: at, kind: overdue})
	}
}
