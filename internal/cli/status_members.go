package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/shoal-net/shoal/internal/agent"
	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/heartbeat"
)

// viewWords says which view this node acts on, since when and why.
func viewWords(m *heartbeat.Status) string {
	v := m.View
	if v == nil {
		return "none yet: this node is " + m.State
	}
	words := fmt.Sprintf("epoch %d.%d, for %s: %s", v.Round, v.Proposer, age(v.SinceMS), v.Reason)
	if v.Alone {
		words += "; without a majority"
	}
	if v.Moving > 0 {
		words += fmt.Sprintf("; %d buckets wait for their old owners", v.Moving)
	}
	return words
}

// printMembership prints the nodes as this one knows them.
func printMembership(w io.Writer, s *agent.Status) {
	paths := s.Members.Interfaces
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "NODE\tNAME\tSTATE\tWEIGHT\tBUCKETS\tPER SECOND\tLEASE LEFT\tLATE")
	for _, p := range paths {
		fmt.Fprintf(t, "\tHEARD ON %s", strings.ToUpper(p.Name))
	}
	fmt.Fprintln(t)
	for i := range s.Members.Nodes {
		n := &s.Members.Nodes[i]
		rate := 0.0
		if at := slices.IndexFunc(s.Nodes, func(share agent.NodeStatus) bool { return share.ID == n.ID }); at >= 0 {
			rate = s.Nodes[at].Rate
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%d\t%.0f\t%s\t%s", n.ID, n.Name, nodeWords(n), weightWords(n), n.Buckets, rate,
			ifPresent(n, n.LeaseLeftMS), ifPresent(n, n.LatenessMS))
		for _, p := range paths {
			fmt.Fprintf(t, "\t%s", heardWords(n, p.Name))
		}
		fmt.Fprintln(t)
	}
	t.Flush()
	for i := range s.Members.Nodes {
		if n := &s.Members.Nodes[i]; len(orderWords(s.Members, n)) > 0 {
			fmt.Fprintf(w, "%s: %s\n", n.Name, strings.Join(orderWords(s.Members, n), "; "))
		}
	}
	fmt.Fprintf(w, "\nheartbeats at worst %.1f ms late within a minute", s.Members.Lateness.WorstMS)
	for _, name := range slices.Sorted(maps.Keys(s.Members.Refused)) {
		fmt.Fprintf(w, ", %d refused: %s", s.Members.Refused[name], name)
	}
	fmt.Fprintln(w)
}

// nodeWords is the node's state in the view, and what it says itself where that
// is something else.
func nodeWords(n *heartbeat.NodeStatus) string {
	switch {
	case !n.Present && n.Says == "":
		return n.State + ", never heard"
	case !n.Present:
		return n.State + ", silent"
	case n.State == n.Says:
		return n.State
	default:
		return n.State + ", says " + n.Says
	}
}

func weightWords(n *heartbeat.NodeStatus) string {
	if n.VotesOnly {
		return "votes only"
	}
	return fmt.Sprint(n.Weight)
}

// orderWords tells why a node's share is not that of its file: what was asked
// for, and where, what its checks say, and which buckets move.
func orderWords(m *heartbeat.Status, n *heartbeat.NodeStatus) (lines []string) {
	if n.DrainedBy != 0 {
		lines = append(lines, "drained, asked for on "+nodeByID(m, n.DrainedBy).Name)
	}
	if n.OrderedBy != 0 {
		lines = append(lines, fmt.Sprintf("weight %d, asked for on %s", n.Ordered, nodeByID(m, n.OrderedBy).Name))
	}
	switch {
	case n.HealthLimit == 0 && !n.VotesOnly:
		lines = append(lines, "unhealthy, as its checks say")
	case n.HealthLimit > 0 && n.HealthLimit < cluster.MaxWeight:
		lines = append(lines, fmt.Sprintf("weight %d at most, as its checks say", n.HealthLimit))
	}
	if n.Draining > 0 {
		lines = append(lines, fmt.Sprintf("gave %d buckets up in which it has connections still", n.Draining))
	}
	if n.Acquiring > 0 {
		lines = append(lines, fmt.Sprintf("others have connections still in %d of its buckets", n.Acquiring))
	}
	return lines
}

func ifPresent(n *heartbeat.NodeStatus, ms float64) string {
	if !n.Present {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", ms)
}

// heardWords says when a node was last heard on an interface.
func heardWords(n *heartbeat.NodeStatus, ifname string) string {
	ms, ever := n.LastHeardMS[ifname]
	switch {
	case n.Self:
		return "self"
	case !ever:
		return "never"
	case n.Present && !slices.Contains(n.HearsUs, ifname):
		return age(ms) + " ago, one way"
	}
	return age(ms) + " ago"
}

// age is a time in words, as exact as it matters.
func age(ms float64) string {
	d := time.Duration(ms * float64(time.Millisecond))
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}
