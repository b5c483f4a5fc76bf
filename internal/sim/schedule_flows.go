package sim

import "math/rand/v2"

// flows has every other schedule keep flows, and gives commands in it. It draws
// from numbers of its own: the rest of the schedule stays what it is.
func (g *generator) flows() {
	drawn := g.r
	defer func() { g.r = drawn }()
	g.r = rand.New(rand.NewPCG(g.s.Seed, 4))
	from := g.at
	defer func() { g.at = from }()
	if g.one(2) {
		return
	}
	g.s.Keep, g.s.Hold, g.s.KeepIll = true, g.one(3), g.one(3)
	if g.one(3) {
		g.s.Drain = g.leases(2, 12)
	}
	last := g.at
	for range g.r.IntN(8) {
		if g.at = draw(g.r, from, g.s.End); g.one(2) {
			g.at = last + g.span() // in the midst of the one before
		}
		last = g.at
		g.order()
	}
}

// order draws a command, and often the one that undoes it.
func (g *generator) order() {
	on, n := 1+g.r.IntN(g.s.Nodes), 1+g.r.IntN(g.s.Nodes)
	switch g.r.IntN(4) {
	case 0, 1:
		g.line("order %d drain %d", on, n)
		if g.at += 2 * g.span(); !g.one(4) {
			g.line("order %d undrain %d", 1+g.r.IntN(g.s.Nodes), n)
		}
	case 2:
		g.line("order %d weight %d %d", on, n, []int{0, 50, 100, 250, 1000}[g.r.IntN(5)])
		if g.at += 2 * g.span(); g.one(2) {
			g.line("order %d reset %d", 1+g.r.IntN(g.s.Nodes), n)
		}
	case 3:
		g.line("health %d %d", n, []int{0, 0, 30}[g.r.IntN(3)])
		if g.at += 2 * g.span(); !g.one(4) {
			g.line("health %d 1000", n)
		}
	}
}
