package sim

import (
	"github.com/shoal-net/shoal/internal/member"
)

// leases keeps what hosts heard, as their processes know it, and checks
// invariant 2 and who may go on alone (clauses A1, A2, A6).
type leases struct {
	// The newest stamp that a host's processes took in, by receiver and sender …
	seen [maxHosts][maxHosts]member.Time
	// … and when the newest frame that they took in had arrived, by the receiver's clock.
	heard  [maxHosts][maxHosts]member.Time
	sentAt [maxHosts][maxHosts]instant
	// When a host last took in that a sender serves in another line of views, or warns.
	opposed [maxHosts][maxHosts]instant
	// The incarnation of which a sender said that it is fenced.
	fenced [maxHosts][maxHosts]member.Incarnation
	proof  [maxHosts]member.Time // when something outside answered, by the host's clock
	saved  [maxHosts]instant     // when a write ended: what is written next was decided on before
	judged [maxHosts]member.ViewID
}

// taken notes a frame that a process takes in.
func (l *leases) taken(h *host, f *frame, a arrival, v member.Verdict) {
	beat, ok := f.message.Body.(*member.Heartbeat)
	if !ok {
		return
	}
	if beat.State == member.Fenced && v == member.Taken { // not an echo of an earlier life
		l.fenced[h.index][f.origin] = f.message.Incarnation
	}
	s := &l.seen[h.index][f.origin]
	*s = max(*s, beat.Sent)
	if sent := &l.sentAt[h.index][f.origin]; f.sentAt > *sent && (v == member.Taken || v == member.Unproved) {
		*sent, l.heard[h.index][f.origin] = f.sentAt, a.stamp
	}
}

// started notes what a process has accepted in an earlier life. What it acted on
// while its own write of that was under way is forgotten (clause R1): that does not
// matter where a majority remembers it.
func (l *leases) started(w *World, h *host) {
	l.judged[h.index] = member.ViewID{}
	if s := h.disk.content; s != nil && s.Accepted != nil {
		l.judged[h.index] = s.Accepted.ID()
		if w.Available {
			h.acted = min(h.acted, s.Accepted.Epoch)
		}
	}
}

// lastHeard is when a host last heard one of some nodes.
func (l *leases) lastHeard(w *World, h *host, of member.Set) (last member.Time) {
	for _, other := range w.hosts {
		if of.Has(other.id) && other.id != h.id {
			last = max(last, l.heard[h.index][other.index])
		}
	}
	return last
}

// leased checks invariant 2: a lease ends at the latest L after the sending of
// a heartbeat that a majority of voters has received, the holder included.
func (o *oracle) leased(w *World, h *host, fx *member.Effects) {
	if fx.LeaseDeadline <= h.clock.read(w.now) {
		return // none, or decided on by a process that was stopped meanwhile
	}
	if limit := h.clock.read(w.now) + w.Lease; fx.LeaseDeadline > limit {
		w.fail("invariant 2: the lease of %s ends %v after now + L", h.name, fx.LeaseDeadline-limit)
	}
	v := o.byEpoch[member.Epoch(fx.LeaseEpoch)]
	if v == nil {
		w.fail("invariant 6: the lease of %s is for epoch %d, which nobody accepted", h.name, fx.LeaseEpoch)
		return
	}
	if o.extends(w, h, fx, v) {
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
			w.fail("invariant 2: the lease of %s ends at %v, but of voters %s only %s have heard what it sent within L before",
				h.name, fx.LeaseDeadline, nodes(voters), nodes(granted&voters))
		}
	}
}

// extends reports whether one of two voters may extend its own lease so
// (clause A6): two in the view that it has accepted last, which may be newer
// than the one that it acts on.
func (o *oracle) extends(w *World, h *host, fx *member.Effects, v *member.View) bool {
	now := h.clock.read(w.now)
	if newer := o.views[o.judged[h.index]]; newer != nil && newer.Epoch > v.Epoch {
		v = newer
	}
	all := v.Voters | v.OldVoters
	if !h.config.Available || all.Len() != 2 || !all.Has(h.id) {
		return false
	}
	last := o.lastHeard(w, h, all)
	stands := h.plane.deadline >= now || h.torn >= 0 // of one that was stopped, when it decided
	return now-last >= w.extending() && o.proof[h.index] > last &&
		stands && fx.LeaseDeadline <= now+3*w.Interval/2
}

// renounced reports whether the other one of a view's two voters has told a host
// that it is fenced.
func (o *oracle) renounced(w *World, h *host, v *member.View) bool {
	for _, other := range w.hosts {
		if v != nil && other.id != h.id && (v.Voters | v.OldVoters).Has(other.id) {
			i := o.fenced[h.index][other.index]
			return i != 0 && i == v.Members[other.id-1].Incarnation
		}
	}
	return false
}

// parted checks a voter that goes on alone: it is one of two, or about to become
// the second; the other says that it is fenced, or has not been heard for longer
// than any lease, and something outside has answered since (clauses A1, A2).
func (o *oracle) parted(w *World, h *host, v *member.View) {
	before := o.judged[h.index]
	o.judged[h.index] = v.ID()
	if !v.Alone || before == v.ID() || !v.Voters.Has(h.id) || o.lost.Has(h.id) || o.saved[h.index] == w.now {
		return
	}
	all := h.config.Listed
	if parent := o.views[v.Parent]; parent != nil {
		all = (parent.Voters | parent.OldVoters).With(h.id)
	}
	last := o.lastHeard(w, h, all)
	switch now := h.clock.read(w.now); {
	case !h.config.Available:
		w.fail("clause A1: %s goes on alone, which its file forbids", h.name)
	case v.Voters.Len() != 1 || all.Len() != 2:
		w.fail("clause A1: of the voters %s, %s go on alone", nodes(all), nodes(v.Voters))
	case o.renounced(w, h, o.views[v.Parent]):
	case now-last < w.Lease*member.Drift/1000:
		w.fail("clause A1: %s goes on alone %v after hearing the other voter", h.name, now-last)
	case o.proof[h.index] <= last:
		w.fail("clause A2: %s goes on alone, but nothing outside has answered it since it heard the other", h.name)
	}
}
