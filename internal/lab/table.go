package lab

import (
	"fmt"
	"strings"
	"time"
)

// Table is the report for people: who answered how much, and what went wrong.
func (r Report) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-10s %8s %9s %7s", "node", "clients", "requests", "share")
	for k := range kinds {
		fmt.Fprintf(&b, " %8s", k)
	}
	fmt.Fprintf(&b, " %9s %9s\n", "p50", "p99")
	for _, n := range r.Nodes {
		fmt.Fprintf(&b, "%-10s %8d %9d %6.1f%%", n.Name, n.Clients, n.Requests, 100*n.Share)
		for k := range kinds {
			fmt.Fprintf(&b, " %8d", n.Kinds[k])
		}
		fmt.Fprintf(&b, " %9s %9s\n", micros(n.P50), micros(n.P99))
	}
	fmt.Fprintf(&b, "\n%-10s %8s %9s %7s %8s %8s %8s %9s %9s\n",
		"", "requests", "once", "none", "twice", "overlap", "", "p50", "p99")
	for k := range kinds {
		if kr := r.Kinds[k]; kr != nil {
			writeCounts(&b, k.String(), kr.Counts)
			fmt.Fprintf(&b, " %8s %9s %9s\n", "", micros(kr.P50), micros(kr.P99))
		}
	}
	writeCounts(&b, "all", r.Counts)
	fmt.Fprintf(&b, "\n\nshares %.1f to %.1f %%, even would be %.1f %%\n", 100*r.Evenness.Min, 100*r.Evenness.Max, 100*r.Evenness.Even)
	if r.Unknown > 0 {
		fmt.Fprintf(&b, "%d answers came from no known node\n", r.Unknown)
	}
	for _, f := range r.Faults {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

func writeCounts(b *strings.Builder, name string, c Counts) {
	fmt.Fprintf(b, "%-10s %8d %9d %7d %8d %8d", name, c.Requests, c.Once, c.None, c.Twice, c.Overlaps)
}

func micros(us float64) string {
	d := time.Duration(us * float64(time.Microsecond))
	switch {
	case d == 0:
		return "-"
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	default:
		return d.Round(10 * time.Microsecond).String()
	}
}
