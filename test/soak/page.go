package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/test/failover"
)

const pageHead = `# What clients see of faults

    sudo make soak

strikes clusters of real agents in the lab with each kind of fault, many times
over, and writes this page; it goes on where it was interrupted. Every fault is a
line of [soak.csv](soak.csv). ` + "`go run ./test/soak -h`" + ` tells how to run a part.
On a machine that has other things to do,

    sudo chrt --rr 1 make soak

puts clusters and clients before them, and leaves one fault out, which is run
alone when the machine is idle: ` + "`make soak SOAKFLAGS='-faults saturate'`" + `.

- Clients: %d over IPv4 and %d over IPv6 each send an echo every %v to the cluster
  address (behind a gateway: to the server), from a real-time thread.
- *Without service* is from the last echo of a client that was answered to the
  first one after the gap, so a gap is up to %v too long. The figures are of all
  clients of the nodes that were struck, over all faults of the kind; 0 is a
  client that lost no echo.
- *Handled twice* are echoes, or a gateway's replies, that reached prerouting
  (before connection tracking) on more nodes than one. Each node logs every one.
- *Clients without need* are those that lost an echo although their node had no part in
  the fault, or, when it was over, although they stayed with their node. Under
  loss it takes more echoes in a row than chance would take once in 10⁸.
- *Buckets without need* are those, of all 4096, that another node or none owned
  when the cluster had got over the fault, although theirs was not struck.
- *Moved back* are clients that went to another node when the fault was over.
- *Unsettled* are faults after which the others did not serve all clients within
  five seconds. Their gaps last until the fault was healed.
`

// table returns the Markdown table of a campaign.
func (r *record) table(c campaign) string {
	var b strings.Builder
	b.WriteString("| fault | times | clients | min | median | p99 | max | handled twice | clients without need | buckets without need | moved back: median | max | unsettled |\n")
	b.WriteString("|---|" + strings.Repeat("--:|", 12) + "\n")
	for _, kind := range failover.Cases(c.mode, c.nodes) {
		rows := r.of(c, kind.Name)
		if len(rows) == 0 {
			continue
		}
		s := sum(rows)
		twice := fmt.Sprint(s.twice)
		if kind.Excepted(c.nodes) && s.twice > 0 {
			twice += " ¹"
		}
		fmt.Fprintf(&b, "| %s: %s | %d | %d | %s | %s | %s | %s | %s | %d%s | %d | %s | %s | %d |\n", kind.Name, kind.Text, len(rows), len(s.gaps),
			show(s.gaps, 0), show(s.gaps, 0.5), show(s.gaps, 0.99), show(s.gaps, 1), twice,
			len(s.needless), longest(s.needless), s.strays, show(s.moves, 0.5), show(s.moves, 1), s.unsettled)
	}
	return b.String()
}

// totals are what all faults of a kind did.
type totals struct {
	gaps, needless, moves []time.Duration
	twice, unsettled      int
	strays                int
}

func sum(rows []row) (s totals) {
	for _, n := range rows {
		s.gaps, s.needless, s.moves = append(s.gaps, n.Gaps...), append(s.needless, n.Needless...), append(s.moves, n.Moves...)
		s.twice += n.Doubles
		s.strays += n.Strays
		if !n.Settled || !n.Healed {
			s.unsettled++
		}
	}
	return s
}

// quantile is the least value that a share q of all values does not exceed.
func quantile(all []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

func show(all []time.Duration, q float64) string {
	if len(all) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f ms", float64(quantile(all, q))/float64(time.Millisecond))
}

func longest(all []time.Duration) string {
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf(" (up to %s)", show(all, 1))
}

// line tells in a line what a fault did, for who waits.
func (r *record) line(c campaign, fault string) string {
	rows := r.of(c, fault)
	s := sum(rows)
	return fmt.Sprintf("%s, %d nodes, %s: %d × %s: without service %s median, %s p99, %s max; %d handled twice, %d without need%s, %d unsettled",
		c.mode, c.nodes, c.timing, len(rows), fault, show(s.gaps, 0.5), show(s.gaps, 0.99), show(s.gaps, 1), s.twice,
		len(s.needless), longest(s.needless), s.unsettled)
}

// writePage writes the page of all that the record has.
func (r *record) writePage(dir string) error {
	var b strings.Builder
	fmt.Fprintf(&b, pageHead, watchedClients, watchedClients, probeInterval, 2*probeInterval)
	fmt.Fprintf(&b, "\n%s\n", r.origin())
	var seen []campaign
	for _, n := range r.rows {
		c := campaign{mode: cluster.Backend, nodes: n.nodes, timing: n.timing}
		if n.mode == cluster.Gateway.String() {
			c.mode = cluster.Gateway
		}
		if slices.ContainsFunc(seen, func(o campaign) bool { return o.mode == c.mode && o.nodes == c.nodes && o.timing == c.timing }) {
			continue
		}
		seen = append(seen, c)
		fmt.Fprintf(&b, "\n## %s, %d nodes, %s\n\n%s", c.mode, c.nodes, timings[c.timing].Text, r.table(c))
		if c.nodes == 2 {
			b.WriteString("\n¹ Two nodes that do not hear each other at all both go on, with `partition: available`: see docs/protocol.md.\n")
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "soak.md"), []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// origin says what was measured where.
func (r *record) origin() string {
	var commits []string
	for _, n := range r.rows {
		if !slices.Contains(commits, n.commit) {
			commits = append(commits, n.commit)
		}
	}
	var uts unix.Utsname
	_ = unix.Uname(&uts) // cannot fail with a valid pointer
	return fmt.Sprintf("Measured with %d CPUs for all nodes and clients together, Linux %s; commits %s.",
		runtime.NumCPU(), unix.ByteSliceToString(uts.Release[:]), strings.Join(commits, ", "))
}
