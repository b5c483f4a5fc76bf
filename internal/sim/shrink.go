package sim

import (
	"slices"
	"strings"
)

// Shrink returns a schedule that fails as well, with as few lines as a simple
// search finds: lines are left out as long as the same invariant is violated.
func (s *Schedule) Shrink() *Schedule {
	w := s.Run(nil)
	if w.failure == "" {
		return s
	}
	what := kindOf(w.failure)
	fails := func(c *Schedule) bool {
		if c.Nodes < 2 {
			return false
		}
		w := c.Run(nil)
		return w.failure != "" && kindOf(w.failure) == what
	}
	best := *s
	best.Lines = slices.Clone(s.Lines)
	if w.now < best.End { // what comes after the violation is of no account
		best.Lines = slices.DeleteFunc(best.Lines, func(l Line) bool { return l.At > w.now })
	}
	for again := true; again; {
		again = best.without(fails)
		again = best.simpler(fails) || again
	}
	return &best
}

// without leaves lines out: half of them at once, then fewer, down to one.
func (s *Schedule) without(fails func(*Schedule) bool) (shrunk bool) {
	for size := max(1, len(s.Lines)/2); size > 0; size /= 2 {
		for at := 0; at < len(s.Lines); {
			c := *s
			c.Lines = slices.Delete(slices.Clone(s.Lines), at, min(at+size, len(s.Lines)))
			if fails(&c) {
				s.Lines, shrunk = c.Lines, true
			} else {
				at += size
			}
		}
	}
	return shrunk
}

// simpler tries plainer setups.
func (s *Schedule) simpler(fails func(*Schedule) bool) (shrunk bool) {
	for _, change := range []func(*Schedule){
		func(c *Schedule) { c.Keep, c.Drain, c.Hold, c.KeepIll = false, 0, false, false },
		func(c *Schedule) { c.Drain = 0 },
		func(c *Schedule) { c.Hold = false },
		func(c *Schedule) { c.KeepIll = false },
		func(c *Schedule) { c.Drift = 0 },
		func(c *Schedule) { c.Noise = 0 },
		func(c *Schedule) { c.Sync = 0 },
		func(c *Schedule) { c.Weights = nil },
		func(c *Schedule) { c.Silent = 0 },
		func(c *Schedule) { c.Interfaces, c.Beats = 1, 0 },
		func(c *Schedule) { c.Beats = 0 },
		func(c *Schedule) { c.Spare = 0 },
		func(c *Schedule) { c.Buckets = c.Nodes },
		func(c *Schedule) { c.DelayMax = 50 * microsecond },
		func(c *Schedule) { c.Available = false },
		func(c *Schedule) { c.Nodes--; c.Buckets = min(c.Buckets, c.Nodes) },
	} {
		c := *s
		change(&c)
		if c.Setup.String() != s.Setup.String() && fails(&c) {
			s.Setup, shrunk = c.Setup, true
		}
	}
	return shrunk
}

// kindOf is which invariant a failure violates: the words between its first
// colons.
func kindOf(failure string) string {
	if parts := strings.SplitN(failure, ": ", 3); len(parts) == 3 {
		return parts[1]
	}
	return ""
}
