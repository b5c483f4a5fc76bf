package sim

import (
	"fmt"
	"strings"
	"time"
)

// choose picks the kinds of faults that this schedule has, and whom they hit.
// Each schedule leaves most kinds out: what goes wrong only when a few of them
// meet often would be drowned by the others.
func (g *generator) choose() {
	all := [...]func(){
		g.kill, g.kill, g.kill, g.powerOff, g.pause, g.pause, g.pause, g.cutPair, g.cutPair, g.deafMute, g.deafMute, g.fade, g.fade,
		g.split, g.unplug, g.replace, g.sluggish, g.sluggish, g.drift, g.weather, g.weather, g.lossy, g.fence, g.leave,
		g.many, g.all, g.reweigh, g.relist, g.relist, g.rolling, g.duplicate,
	}
	g.faults = append(g.faults, all[g.r.IntN(len(all)-1)]) // the last is dropped from most schedules
	for range 1 + g.r.IntN(6) {
		g.faults = append(g.faults, all[g.r.IntN(len(all))])
	}
	g.memories = []int{2, 5, 12}[g.r.IntN(3)]
	for range 1 + g.r.IntN(g.s.Nodes) {
		g.victims = append(g.victims, 1+g.r.IntN(g.s.Nodes))
	}
}

// fault draws one fault, and its end.
func (g *generator) fault() { g.faults[g.r.IntN(len(g.faults))]() }

func (g *generator) node() int {
	if g.one(4) {
		return 1 + g.r.IntN(g.s.Nodes)
	}
	return g.victims[g.r.IntN(len(g.victims))]
}

// other draws a node that is not n.
func (g *generator) other(n int) int { return 1 + (n+g.r.IntN(g.s.Nodes-1))%g.s.Nodes }

// torn is how many of its effects a process has done when it is stopped.
func (g *generator) torn() string {
	if g.one(2) {
		return ""
	}
	return fmt.Sprintf(" torn %d", 1+g.r.IntN(effects-1))
}

// on picks one interface or all.
func (g *generator) on() string {
	if g.s.Interfaces == 1 || g.one(2) {
		return ""
	}
	return fmt.Sprintf(" on %d", g.r.IntN(g.s.Interfaces))
}

func (g *generator) memory() string {
	if g.one(g.memories) {
		return " amnesia"
	}
	return ""
}

func (g *generator) kill() {
	n := g.node()
	g.line("kill %d%s", n, g.torn())
	g.at += g.span()
	g.line("start %d%s", n, g.memory())
}

func (g *generator) powerOff() {
	n := g.node()
	g.line("poweroff %d", n)
	g.at += g.span()
	g.line("start %d%s", n, g.memory())
}

// pause stops and resumes a process, sometimes several times in a row.
func (g *generator) pause() {
	n := g.node()
	for {
		g.line("pause %d%s", n, g.torn())
		g.at += g.span()
		g.line("resume %d", n)
		g.at += g.span() / 8
		if !g.one(3) {
			return
		}
	}
}

func (g *generator) cutPair() {
	a := g.node()
	pair := fmt.Sprintf("%d%s%d%s", a, []string{"-", "->"}[g.r.IntN(2)], g.other(a), g.on())
	g.line("cut %s", pair)
	g.at += g.span()
	g.line("mend %s", pair)
}

// fade takes a node out of others' hearing one by one, in one direction or both,
// and brings it back to them in another order.
func (g *generator) fade() {
	n, both := g.node(), g.one(2)
	var pairs []string
	for other := 1; other <= g.s.Nodes; other++ {
		if other == n || g.one(5) {
			continue
		}
		if pairs = append(pairs, fmt.Sprintf("%d->%d", n, other)); both || g.one(4) {
			pairs = append(pairs, fmt.Sprintf("%d->%d", other, n))
		}
	}
	quick := g.leases(0.05, 0.5)
	for _, verb := range []string{"cut", "mend"} {
		begun := g.at
		for _, i := range g.r.Perm(len(pairs)) {
			g.at = begun + draw(g.r, 0, quick)
			g.line("%s %s", verb, pairs[i])
		}
		g.at = begun + g.span()
	}
}

func (g *generator) deafMute() {
	n, on := g.node(), g.on()
	g.line("%s %d%s", []string{"deaf", "mute"}[g.r.IntN(2)], n, on)
	g.at += g.span()
	g.line("mend %d%s", n, on)
}

func (g *generator) split() {
	var groups [2][]string
	for n := 1; n <= g.s.Nodes; n++ {
		i := g.r.IntN(2)
		groups[i] = append(groups[i], fmt.Sprint(n))
	}
	if len(groups[0]) == 0 || len(groups[1]) == 0 {
		return
	}
	g.line("split %s/%s", strings.Join(groups[0], ","), strings.Join(groups[1], ","))
	g.at += g.span()
	g.line("heal")
}

func (g *generator) unplug() {
	n, on := g.node(), g.on()
	g.line("unplug %d%s", n, on)
	cutOff := on == "" && g.one(2)
	if cutOff {
		g.line("outside %d off", n)
	}
	g.at += g.span()
	g.line("plug %d%s", n, on)
	if cutOff {
		g.line("outside %d on", n)
	}
}

// sluggish makes a process or a disk slow.
func (g *generator) sluggish() {
	n := g.node()
	verb := []string{"slow", "late", "disk"}[g.r.IntN(3)]
	g.line("%s %d %v", verb, n, time.Duration(g.leases(0.05, 0.8)))
	g.at += g.span() * 2
	usual := time.Duration(0)
	if verb == "disk" {
		usual = time.Duration(g.s.Sync)
	}
	g.line("%s %d %v", verb, n, usual)
}

func (g *generator) drift() { g.rate(g.node()) }

func (g *generator) rate(n int) {
	g.line("rate %d %d", n, []int{-10000, 10000, g.r.IntN(20001) - 10000}[g.r.IntN(3)])
}

func (g *generator) weather() {
	clear, usual := "", fmt.Sprintf("loss=%v", float64(g.s.Noise)/10_000)
	switch g.r.IntN(5) {
	case 0:
		g.line("weather loss=%d", 1+g.r.IntN(90))
		clear = usual
	case 1:
		g.line("weather duplicate=%d", 1+g.r.IntN(90))
		clear = "duplicate=0"
	case 2:
		g.line("weather late=%d latemax=%v", 1+g.r.IntN(50), time.Duration(g.leases(0.1, 6)))
		clear = "late=0"
	case 3:
		g.line("weather replay=%d", 5+g.r.IntN(90))
		g.at += g.span() * 4
		clear = "replay=0"
	case 4:
		g.line("weather delay=%v", time.Duration(g.leases(0.02, 0.3)))
		clear = fmt.Sprintf("delay=%v", time.Duration(g.s.DelayMax))
	}
	g.at += g.span()
	g.line("weather %s", clear)
}

func (g *generator) lossy() {
	a := g.node()
	pair := fmt.Sprintf("%d%s%d", a, []string{"-", "->"}[g.r.IntN(2)], g.other(a))
	g.line("lossy %s %d", pair, 10+g.r.IntN(90))
	g.at += g.span()
	g.line("lossy %s 0", pair)
}

func (g *generator) fence() {
	n := g.node()
	g.line("fence %d", n)
	g.at += g.span()
	g.line("unfence %d", n)
}

func (g *generator) replace() {
	g.line("replace %d %v", g.node(), time.Duration(draw(g.r, 0, []instant{int64(g.s.Interval) / 4, int64(g.s.Lease)}[g.r.IntN(2)])))
}

func (g *generator) leave() {
	n := g.node()
	g.line("leave %d", n)
	g.at += g.leases(2, 14)
	g.line("start %d", n)
}

// many hits several nodes at one instant.
func (g *generator) many() {
	verb := []string{"kill", "poweroff", "pause"}[g.r.IntN(3)]
	at, chosen := g.at, g.r.Uint32()
	for n := 1; n <= g.s.Nodes; n++ {
		if chosen>>n&1 == 0 {
			continue
		}
		g.at = at
		g.line("%s %d", verb, n)
		g.at += g.span()
		if verb == "pause" {
			g.line("resume %d", n)
		} else {
			g.line("start %d", n)
		}
	}
}

// all takes every process down and starts it again soon, so that disks are of
// different ages and data planes hold leases and tables from before.
func (g *generator) all() {
	down, up := g.leases(0, 2), g.leases(0, 2)
	at := g.at
	for n := 1; n <= g.s.Nodes; n++ {
		g.at = at + draw(g.r, 0, down)
		g.line("kill %d%s", n, g.torn())
		g.at = at + down + draw(g.r, 0, up)
		g.line("start %d", n)
	}
}

func (g *generator) reweigh() {
	g.line("reload %d weight=%d", g.node(), []int{0, 50, 100, 100, 300}[g.r.IntN(5)])
}

// relist retires a node or adds one, by reloading all files in some order.
func (g *generator) relist() {
	last := g.s.Nodes + g.s.Spare
	listed := map[int]bool{}
	for n := 1; n <= last; n++ {
		listed[n] = true
	}
	if gone := g.node(); g.s.Nodes > 2 && g.one(2) {
		delete(listed, gone)
	}
	var ids []string
	for n := 1; n <= last; n++ {
		if listed[n] {
			ids = append(ids, fmt.Sprint(n))
		}
	}
	for _, n := range g.r.Perm(last) {
		g.line("reload %d nodes=%s", n+1, strings.Join(ids, ","))
		if n+1 > g.s.Nodes {
			g.line("start %d", n+1)
		}
		g.at += g.span() / 4
	}
}

// rolling restarts one node after another.
func (g *generator) rolling() {
	between := g.leases(0.5, 4)
	for n := 1; n <= g.s.Nodes; n++ {
		verb := []string{"kill", "leave"}[g.r.IntN(2)]
		g.line("%s %d", verb, n)
		g.at += draw(g.r, 0, between)
		g.line("start %d", n)
		g.at += draw(g.r, 0, between)
	}
}

func (g *generator) duplicate() {
	n := g.node()
	g.line("duplicate %d%s", n, []string{"", " clone"}[g.r.IntN(2)])
	g.at += g.span()
	g.line("poweroff %d'", n)
}
