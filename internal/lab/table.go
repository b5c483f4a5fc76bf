package lab

import (
	"fmt"
	"strings"
	"time"
)

// Table is the report for people, at most 80 columns wide: who answered how
// much, and what went wrong.
func (r Report) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %7s %8s %6s", "node", "clients", "requests", "share")
	for k := range kinds {
		fmt.Fprintf(&b, " %6s", k)
	}
	fmt.Fprintf(&b, " %8s %8s\n", "p50", "p99")
	for _, n := range r.Nodes {
		fmt.Fprintf(&b, "%-8s %7d %8d %5.1f%%", n.Name, n.Clients, n.Requests, 100*n.Share)
		for k := range kinds {
			fmt.Fprintf(&b, " %6d", n.Kinds[k])
		}
		fmt.Fprintf(&b, " %8s %8s\n", micros(n.P50), micros(n.P99))
	}
	fmt.Fprintf(&b, "%-8s %7s %8s %5.1f%%\n\n", "(even)", "", "", 100*r.Evenness.Even)

	fmt.Fprintf(&b, "%-8s %8s %8s %8s %8s %14s %8s %8s\n", "kind", "requests", "once", "none", "twice", "by two nodes", "p50", "p99")
	row := func(name, p50, p99 string, c Counts) {
		line := fmt.Sprintf("%-8s %8d %8d %8d %8d %14d %8s %8s", name, c.Requests, c.Once, c.None, c.Twice, c.Overlaps, p50, p99)
		fmt.Fprintln(&b, strings.TrimRight(line, " "))
	}
	for k := range kinds {
		if kr := r.Kinds[k]; kr != nil {
			row(k.String(), micros(kr.P50), micros(kr.P99), kr.Counts)
		}
	}
	row("all", "", "", r.Counts)
	if r.Unknown > 0 {
		fmt.Fprintf(&b, "%d answers came from no known node\n", r.Unknown)
	}
	for _, f := range r.Faults {
		fmt.Fprintln(&b, f)
	}
	return b.String()
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
