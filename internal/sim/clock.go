package sim

import "github.com/shoal-net/shoal/internal/member"

// clock is a node's boot-time clock: it runs on through pauses, and at a rate
// that is off by up to 1 %. In integers, so that every run is the same.
type clock struct {
	since instant     // when the rate last changed …
	base  member.Time // … and what the clock showed then
	ppm   int64       // how much too fast, in millionths: -10000..10000
}

// read returns what the clock shows.
func (c *clock) read(now instant) member.Time {
	elapsed := now - c.since
	return c.base + member.Time(elapsed+elapsed*c.ppm/1_000_000)
}

// when returns the first instant, not before now, at which the clock shows t.
func (c *clock) when(t member.Time, now instant) instant {
	local := int64(t - c.base)
	if local <= 0 {
		return max(now, c.since)
	}
	if local > int64(1000*second) { // far beyond any run; and the product stays within 63 bits
		return never
	}
	at := c.since + local*1_000_000/(1_000_000+c.ppm)
	for c.read(at) < t { // divisions rounded down, at most twice
		at++
	}
	return max(now, at)
}

// setRate changes the rate from now on.
func (c *clock) setRate(now instant, ppm int64) {
	c.base, c.since, c.ppm = c.read(now), now, ppm
}
