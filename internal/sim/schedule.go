package sim

import (
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/shoal-net/shoal/internal/member"
)

// Schedule is a run that is written down: a setup and lines at instants.
type Schedule struct {
	Setup
	Lines []Line
	End   instant // when the faults are over
}

// Line is a line for World.Do.
type Line struct {
	At   instant
	Text string
}

// Random draws a schedule from a seed: two to seven nodes, at least 20 leases
// and 5 faults.
func Random(seed uint64) Schedule {
	g := &generator{r: rand.New(rand.NewPCG(seed, 0))}
	g.s.Setup = g.setup(seed)
	g.cold()
	g.s.End = g.at + g.leases(18, 20)
	g.choose()
	g.flows()
	from, last := g.at, g.at
	for range 6 + g.r.IntN(14) {
		if g.at = draw(g.r, from, g.s.End); g.one(2) {
			g.at = last + g.span() // in the midst of the one before
		}
		last = g.at
		g.fault()
	}
	g.s.dropDuplicates()
	slices.SortStableFunc(g.s.Lines, func(a, b Line) int { return cmp.Compare(a.At, b.At) })
	if n := len(g.s.Lines); n > 0 {
		g.s.End = max(g.s.End, g.s.Lines[n-1].At)
	}
	return g.s
}

// dropDuplicates takes hosts with one id out of schedules in which some nodes
// cannot hear others, and those whose first host is not there all the time: there
// two such hosts are two votes for who does not hear both, or one that votes by
// what the other has forgotten. In a cluster the data plane takes heartbeats only
// from the addresses that the file lists for the node, so the two would have one
// address as well.
func (s *Schedule) dropDuplicates() {
	alone := s.Available
	absent := map[string]bool{}
	for _, l := range s.Lines {
		words := strings.Fields(l.Text)
		switch words[0] {
		case "cut", "split", "deaf", "mute", "unplug", "lossy":
			alone = true
		case "weather":
			alone = alone || strings.Contains(l.Text, "weather loss")
		case "kill", "pause", "poweroff", "leave", "replace":
			absent[words[1]] = true
		}
	}
	s.Lines = slices.DeleteFunc(s.Lines, func(l Line) bool {
		words := strings.Fields(l.Text)
		name, second := strings.CutSuffix(words[len(words)-1], "'")
		if words[0] == "duplicate" {
			name, second = words[1], true
		}
		return second && (alone || absent[name])
	})
}

// Run plays the schedule and what follows it: all is repaired, all processes
// started, and the cluster has to come to rest.
func (s *Schedule) Run(trace io.Writer) *World {
	w := NewWorld(s.Setup, trace)
	for _, line := range s.Lines {
		if w.Run(line.At); w.failure != "" {
			return w
		}
		if err := w.Do(line.Text); err != nil {
			w.fail("schedule: %v", err)
		}
	}
	if w.Run(s.End); w.failure == "" {
		w.repair()
		w.rests()
		w.converged()
	}
	return w
}

// rests lets time pass until all is as it should be and stays so for a while; in
// some runs for as long as that may take at most.
func (w *World) rests() {
	quiet := never
	for latest := w.now + w.rest(); w.now < latest; {
		if w.Run(w.now + instant(w.Lease)); w.failure != "" {
			return
		}
		switch {
		case w.unrest() != "" || w.moving() != 0 || w.Seed%8 == 0:
			quiet = never // a moment between two views is no rest
		case quiet == never:
			quiet = w.now
		case w.now >= quiet+3*w.patience():
			return
		}
	}
}

// rest is how long a cluster that was repaired may take to be whole again.
func (w *World) rest() instant { return 12*w.patience() + 2*second }

// repair ends all faults and makes all files say the same.
func (w *World) repair() {
	w.Noise = 0
	w.hush()
	w.Do("heal")
	for _, h := range w.hosts {
		h.config.Listed, h.unread = w.listed, true
		w.rereads(h)
	}
	for _, h := range w.hosts {
		w.Do("unfence " + h.name)
		switch {
		case strings.HasSuffix(h.name, "'"):
			w.Do("poweroff " + h.name)
		case h.paused || h.tear > 0:
			w.Do("resume " + h.name)
			if h.process == nil {
				w.Do("start " + h.name)
			}
		case h.process == nil && h.config.Listed.Has(h.id):
			w.Do("start " + h.name)
		}
		h.disk.slowest = w.Sync
	}
}

// converged checks that everybody who can serves, in one view.
func (w *World) converged() {
	if what := w.unrest(); what != "" && w.failure == "" {
		w.fail("at rest: %s", what)
	}
}

// unrest says what is not as it should be when nothing has happened for long.
func (w *World) unrest() string {
	total, handled := 0, uint64(0)
	serves := func(h *host) bool {
		return h.process != nil && !h.leaving && h.config.Listed.Has(h.id)
	}
	for i, h := range w.hosts {
		handled |= w.oracle.active[i]
		if serves(h) {
			total += int(w.weight(h))
		}
	}
	if total == 0 { // nobody may, or all are ill
		return ""
	}
	if missing := w.all() &^ handled; missing != 0 && !w.memoryLost() {
		return fmt.Sprintf("nobody handles %s", buckets(missing))
	}
	for i, h := range w.hosts {
		if !serves(h) {
			continue
		}
		weight := int(w.weight(h))
		low := w.Buckets * weight / total
		high := (w.Buckets*weight + total - 1) / total
		if n := count(w.oracle.active[i]); (n < low || n > high) && !w.memoryLost() {
			return fmt.Sprintf("%s handles %d buckets, its quota is %d to %d", h.name, n, low, high)
		}
	}
	if moving := w.moving() &^ w.kept(); moving != 0 && !w.memoryLost() {
		return fmt.Sprintf("some acquire or drain %s still", buckets(moving))
	}
	return ""
}

// moving is the set of buckets that anybody drains or acquires.
func (w *World) moving() (s uint64) {
	for _, h := range w.hosts {
		if h.plane.leased(h.clock.read(w.now)) {
			s |= h.plane.drains | h.plane.table&^h.plane.owned
		}
	}
	return s
}

// memoryLost reports whether too few of the voters remember anything for the
// others to learn it from them, for good: those who know are retired, or have
// lost their disks (clause R3).
func (w *World) memoryLost() bool {
	for _, voters := range w.oracle.voters() {
		knowing, forgetful := 0, 0
		for _, h := range w.hosts {
			switch {
			case h.process == nil || !voters.Has(h.id):
			case h.process.Status(h.clock.read(w.now)).Amnesiac:
				forgetful++
			default:
				knowing++
			}
		}
		n := voters.Len()
		if 2*knowing <= n && knowing < n-n/2 && 2*forgetful <= n {
			return true
		}
	}
	return false
}

// String writes the schedule as a script.
func (s *Schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", s.Setup.String())
	now := instant(0)
	for _, l := range s.Lines {
		if l.At > now {
			fmt.Fprintf(&b, "run %v\n", time.Duration(l.At-now))
			now = l.At
		}
		fmt.Fprintln(&b, l.Text)
	}
	fmt.Fprintf(&b, "run %v\nrepair\n", time.Duration(s.End-now))
	return b.String()
}

// generator draws the parts of a schedule.
type generator struct {
	r  *rand.Rand
	s  Schedule
	at instant // of the next line

	faults   []func() // that this schedule has
	memories int      // one start of so many is without
	victims  []int    // nodes that most of them happen to
}

func (g *generator) line(format string, args ...any) {
	g.s.Lines = append(g.s.Lines, Line{g.at, fmt.Sprintf(format, args...)})
}

// leases draws a span of so many leases.
func (g *generator) leases(low, high float64) instant {
	return instant((low + g.r.Float64()*(high-low)) * float64(g.s.Lease))
}

// span draws how long a fault lasts: short ones are as likely as long ones, and
// many last about as long as a lease, when it matters most what is done first.
func (g *generator) span() instant {
	if g.one(3) {
		return g.leases(0.85, 1.35)
	}
	f := 0.02
	for range g.r.IntN(9) {
		f *= 2
	}
	return g.leases(f, 2*f)
}

func (g *generator) one(in int) bool { return g.r.IntN(in) == 0 }

func (g *generator) setup(seed uint64) Setup {
	s := Setup{Seed: seed, Nodes: 2 + g.r.IntN(4), Interfaces: 1, Interval: 20 * time.Millisecond, Lease: 100 * time.Millisecond}
	if g.one(6) {
		s.Nodes = 6 + g.r.IntN(2)
	}
	s.Buckets = []int{s.Nodes, 7, 12, 64}[g.r.IntN(4)]
	switch g.r.IntN(8) {
	case 0, 1:
		s.Interval, s.Lease = 5*time.Millisecond, 30*time.Millisecond
	case 2:
		s.Interval, s.Lease = 30*time.Millisecond, 200*time.Millisecond
	case 3, 4:
		s.Interval, s.Lease = 33*time.Millisecond, 100*time.Millisecond
	}
	if g.one(3) {
		s.Interfaces = 2
		if g.one(3) {
			s.Beats = 1
		}
	}
	s.Available = g.one(4) || s.Nodes == 2 && g.one(2)
	if s.Nodes > 2 && g.one(4) {
		s.Silent = s.Silent.With(member.NodeID(1 + g.r.IntN(s.Nodes)))
	}
	if g.one(2) {
		s.Sync = draw(g.r, 0, 10*millisecond)
	}
	if g.one(4) {
		s.Noise = []uint32{1_000, 10_000, 50_000, 300_000}[g.r.IntN(4)]
	}
	s.DelayMax = []instant{50 * microsecond, 200 * microsecond, 2 * millisecond}[g.r.IntN(3)]
	if g.one(4) {
		s.Weights = []uint16{100, 50, 200, 0, 130}[:2+g.r.IntN(4)]
	}
	if g.one(5) {
		s.Spare = 1 + g.r.IntN(3)
	}
	return s
}

// cold starts the nodes: at once or one by one, sometimes not all, sometimes on
// data planes that hold what an earlier life has left.
func (g *generator) cold() {
	drift := g.one(2)
	for n := 1; n <= g.s.Nodes; n++ {
		if g.at = 0; drift {
			g.rate(n)
		}
		if g.one(3) {
			g.line("stale %d %x %d", n, g.r.Uint64(), g.r.Uint64()>>(16+g.r.IntN(48))) // earlier or later than all to come
		}
		if g.one(4) {
			g.at = g.leases(0, 8)
		}
		g.line("start %d", n)
	}
	g.at = g.leases(2, 6)
}
