package lab

import (
	"math/bits"
	"net/netip"
	"time"
)

// A Gap is a time without service as one client saw it: from the last echo that
// was answered before it to the first one after it.
type Gap struct {
	Client netip.Addr
	From   time.Time // when the echo before was sent; the first one of the gap if none is known
	To     time.Time // when the one after was sent; zero if there is none yet
	Lost   int       // echoes in between
	// Before and After are the nodes that handled the echo before and the one
	// after, 0 where that is not known.
	Before, After int
}

// Length is how long the gap is, until now if it has not ended.
func (g Gap) Length() time.Duration {
	if g.To.IsZero() {
		return time.Since(g.From)
	}
	return g.To.Sub(g.From)
}

// A Double is a packet that more nodes than one handled.
type Double struct {
	Client netip.Addr
	Sent   time.Time
	Nodes  uint64 // bit n-1: node n
}

// Gaps lists the gaps in which echoes were lost that were sent from one time to
// another. Echoes whose answers are on their way count as lost: let the end be
// what Steady returned.
func (m *Monitor) Gaps(from, to time.Time) []Gap {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Gap
	for _, c := range m.clients {
		all = append(all, m.gaps(c, from, to)...)
	}
	return all
}

func (m *Monitor) gaps(c *watched, from, to time.Time) (all []Gap) {
	var gap *Gap // that is open
	last := -1   // the latest echo that was answered
	for i := range c.echoes {
		e := &c.echoes[i]
		switch {
		case e.failed:
		case e.answers > 0:
			if gap != nil {
				gap.To, gap.After = m.start.Add(e.sent), e.handler()
				gap = nil
			}
			last = i
		case gap != nil:
			gap.Lost++
		case e.sent < to.Sub(m.start):
			g := Gap{Client: c.addr, From: m.start.Add(e.sent), Lost: 1}
			if last >= 0 {
				g.From, g.Before = m.start.Add(c.echoes[last].sent), c.echoes[last].handler()
			}
			all = append(all, g)
			gap = &all[len(all)-1]
		}
	}
	return overlapping(all, from)
}

// overlapping drops the gaps that had ended by a time.
func overlapping(gaps []Gap, from time.Time) []Gap {
	for len(gaps) > 0 && !gaps[0].To.IsZero() && !gaps[0].To.After(from) {
		gaps = gaps[1:]
	}
	return gaps
}

// handler is the node that handled an echo, 0 if none is known: the first of
// several.
func (e *echo) handler() int {
	if e.there == 0 {
		return 0
	}
	return bits.TrailingZeros64(e.there) + 1
}

// Steady says whether each client had all of its echoes answered for that long,
// counted from since at the earliest, and until when all of them were answered.
func (m *Monitor) Steady(since time.Time, d time.Duration) (until time.Time, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Since(m.start)
	least := now
	for _, c := range m.clients {
		first, last := c.run()
		if last-max(first, since.Sub(m.start)) < d || now-last > staleAnswer {
			return time.Time{}, false
		}
		least = min(least, last)
	}
	return m.start.Add(least), true
}

// run is when the first and the last echo were sent of those that were answered
// one after the other, up to the latest answered one.
func (c *watched) run() (first, last time.Duration) {
	i := len(c.echoes) - 1
	for i >= 0 && c.echoes[i].answers == 0 {
		i--
	}
	if i >= 0 {
		last = c.echoes[i].sent
	}
	for ; i >= 0 && (c.echoes[i].answers > 0 || c.echoes[i].failed); i-- {
		first = c.echoes[i].sent
	}
	return first, last
}

// staleAnswer is how long ago the latest answered echo may be of a client that
// has service: a processor that others use delays answers.
const staleAnswer = 50 * time.Millisecond

// Owners says which node handled each client's latest answered echo before a
// time. Behind a gateway that is the node of the request. A client whose echo
// no node is known to have handled is missing.
func (m *Monitor) Owners(at time.Time) map[netip.Addr]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	owners := map[netip.Addr]int{}
	for _, c := range m.clients {
		for i := len(c.echoes) - 1; i >= 0; i-- {
			if e := &c.echoes[i]; e.answers > 0 && e.there != 0 && e.sent < at.Sub(m.start) {
				owners[c.addr] = e.handler()
				break
			}
		}
	}
	return owners
}

// Doubles lists the packets sent from one time to another, requests or replies,
// that reached prerouting on two nodes or more. What was sent within the last
// LogDelay may be missing.
func (m *Monitor) Doubles(from, to time.Time) []Double {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Double
	for _, c := range m.clients {
		for i := range c.echoes {
			e := &c.echoes[i]
			for _, nodes := range []uint64{e.there, e.back} {
				if e.sent >= from.Sub(m.start) && e.sent < to.Sub(m.start) && bits.OnesCount64(nodes) > 1 {
					all = append(all, Double{c.addr, m.start.Add(e.sent), nodes})
				}
			}
		}
	}
	return all
}

// Count says how many echoes were sent in some time and how many of them were
// answered.
func (m *Monitor) Count(from, to time.Time) (sent, answered int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.clients {
		for i := range c.echoes {
			e := &c.echoes[i]
			if e.failed || e.sent < from.Sub(m.start) || e.sent >= to.Sub(m.start) {
				continue
			}
			sent++
			if e.answers > 0 {
				answered++
			}
		}
	}
	return sent, answered
}

// Forget drops what was sent before a time, but for the last echoes before it.
func (m *Monitor) Forget(before time.Time) {
	const keep = 50
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.clients {
		n := 0
		for n < len(c.echoes) && c.echoes[n].sent < before.Sub(m.start) {
			n++
		}
		if n > keep {
			c.first += uint32(n - keep)
			c.echoes = append([]echo(nil), c.echoes[n-keep:]...)
		}
	}
}

// A Harvest is what a monitor counted in some time.
type Harvest struct {
	Gaps           []Gap
	Doubles        int // packets that more nodes than one handled
	Sent, Answered int // echoes
}

// Harvest returns what happened after from and before to, forgets it, and says
// where the next harvest is to begin: gaps that have not ended are left to it.
func (m *Monitor) Harvest(from, to time.Time) (h Harvest, next time.Time) {
	all := m.Gaps(from, to)
	next = to
	for _, g := range all {
		if g.To.IsZero() && g.From.Before(next) {
			next = g.From
		}
	}
	if !next.After(from) {
		return Harvest{}, from
	}
	for _, g := range all {
		if !g.From.Before(from) && g.From.Before(next) {
			h.Gaps = append(h.Gaps, g)
		}
	}
	h.Sent, h.Answered = m.Count(from, next)
	h.Doubles = len(m.Doubles(from, next))
	m.Forget(next)
	return h, next
}
