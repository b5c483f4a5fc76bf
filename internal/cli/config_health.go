package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/shoal-net/shoal/internal/cluster"
)

// describeHandover says what becomes of flows when their bucket moves.
func describeHandover(c *cluster.Cluster) string {
	switch {
	case !c.KeepsFlows():
		return "flows move with their buckets"
	case c.KeepsUDP():
		return fmt.Sprintf("flows stay while their buckets move, UDP too, for up to %s", c.Handover.Drain)
	default:
		return fmt.Sprintf("flows stay while their buckets move, UDP not, for up to %s", c.Handover.Drain)
	}
}

// printChecks prints the health checks, if there are any.
func printChecks(w io.Writer, h cluster.Health) {
	if len(h.Checks) == 0 {
		return
	}
	fmt.Fprintf(w, "\nINTERVAL\tTIMEOUT\tRISE\tFALL\tON FAILURE\tCHECK\n")
	for _, c := range h.Checks {
		failure := "leave"
		if c.Weight > 0 {
			failure = fmt.Sprintf("weight %d", c.Weight)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s%s\n", c.Interval, c.Timeout, c.Rise, c.Fall, failure, c, expected(c))
	}
	fmt.Fprintf(w, "while all nodes are unhealthy: %s\n", h.AllUnhealthy)
}

// expected says what a check by HTTP is to bring.
func expected(c cluster.Check) string {
	if c.Kind != cluster.CheckHTTP {
		return ""
	}
	var statuses []string
	for _, r := range c.Status {
		if r.First == r.Last {
			statuses = append(statuses, fmt.Sprint(r.First))
		} else {
			statuses = append(statuses, fmt.Sprintf("%d-%d", r.First, r.Last))
		}
	}
	s := fmt.Sprintf(" at %s: %s", c.Target, strings.Join(statuses, ","))
	if c.Body != "" {
		s += fmt.Sprintf(" with %q", c.Body)
	}
	if c.Insecure {
		s += ", any certificate"
	}
	return s
}
