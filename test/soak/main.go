// Command soak strikes real clusters in the lab with every kind of fault, many
// times over, and writes what their clients saw to docs/soak.md and, one line
// for each fault, to docs/soak.csv. It goes on where it was interrupted: faults
// that the file has are not repeated. With -saturate it lets clusters and a
// peer run for a long time on busy processors instead, and counts takeovers.
// With -handover it lets nodes come and go under thousands of connections and UDP
// flows.
//
// It needs root; all that it makes lives in network namespaces of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/lab"
	"github.com/shoal-net/shoal/test/failover"
)

type options struct {
	modes, faults, timing string
	nodes                 string
	count                 int
	dir, log              string
	fresh                 bool
	saturate              time.Duration
	handover              handoverOptions
}

func main() {
	var o options
	flag.StringVar(&o.modes, "mode", "", "only `modes` such as backend,gateway")
	flag.StringVar(&o.nodes, "nodes", "", "only clusters of these `numbers` of nodes, such as 3 or 2,5")
	flag.StringVar(&o.faults, "faults", "", "only `faults` such as kill-agent,unplug; see docs/soak.md")
	flag.StringVar(&o.timing, "timing", "default", "`timing` of the cluster: default (20/100 ms) or fast (5/30 ms)")
	flag.IntVar(&o.count, "n", 0, "how many faults of each `kind`; 0: 100 with three nodes in backend mode, else 10")
	flag.StringVar(&o.dir, "o", "docs", "write into this `directory`")
	flag.StringVar(&o.log, "log", "", "write the agents' logs into this `file`")
	flag.BoolVar(&o.fresh, "fresh", false, "forget the faults of earlier runs")
	flag.DurationVar(&o.saturate, "saturate", 0, "count false takeovers on busy processors for this `time` instead")
	flag.BoolVar(&o.handover.run, "handover", false, "drain, weigh and stop nodes under thousands of connections instead")
	flag.StringVar(&o.handover.only, "only", "", "with -handover: only `columns` of docs/handover.md, such as recipe,upload, or tables: tcp, udp, transfer")
	flag.IntVar(&o.handover.connections, "connections", 10_000, "with -handover: keep this `number` of connections open")
	flag.IntVar(&o.handover.visits, "visits", 200, "with -handover: open this `number` of other connections each second")
	flag.IntVar(&o.handover.changes, "changes", 50, "with -handover: make this `number` of changes")
	flag.IntVar(&o.handover.flows, "flows", 2000, "with -handover: let this `number` of UDP flows go on")
	flag.IntVar(&o.handover.queries, "queries", 200, "with -handover: send this `number` of other datagrams each second")
	flag.DurationVar(&o.handover.period, "period", 8*time.Second, "with -handover: the `time` between two requests on a connection that is kept")
	flag.DurationVar(&o.handover.lease, "lease", 100*time.Millisecond, "with -handover: nodes' leases are of this `time`")
	flag.Uint64Var(&o.handover.seed, "seed", 1, "with -handover: draw the changes from this `number`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := start(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func start(ctx context.Context, o options) error {
	if os.Geteuid() != 0 {
		return errors.New("clusters live in network namespaces: run this as root")
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil { // before hours are spent
		return err
	}
	dir, err := os.MkdirTemp("", "shoal-soak-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "shoal")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/shoal-net/shoal/cmd/shoal").CombinedOutput(); err != nil {
		return fmt.Errorf("build shoal: %w\n%s", err, out)
	}
	if o.saturate > 0 {
		return saturate(ctx, o, binary)
	}
	if o.handover.run {
		return handOver(ctx, o, binary)
	}
	campaigns, err := o.campaigns()
	if err != nil {
		return err
	}
	if campaigns, err = withoutSaturation(campaigns); err != nil {
		return err
	}
	r, err := openRecord(o.dir, o.fresh)
	if err != nil {
		return err
	}
	defer r.close()
	for _, c := range campaigns {
		if err := c.run(ctx, r, binary, o.log); err != nil {
			return errors.Join(err, r.writePage(o.dir))
		}
	}
	return r.writePage(o.dir)
}

// A campaign is one cluster and how often it is struck with each fault.
type campaign struct {
	mode   cluster.Mode
	nodes  int
	timing string
	count  int
	kinds  []failover.Case
}

// campaigns are those of the full run that the options leave.
func (o options) campaigns() ([]campaign, error) {
	if _, ok := timings[o.timing]; !ok {
		return nil, fmt.Errorf("-timing %s: default or fast", o.timing)
	}
	var all []campaign
	for _, c := range []campaign{
		{cluster.Backend, 3, o.timing, 100, nil},
		{cluster.Backend, 2, o.timing, 10, nil},
		{cluster.Backend, 5, o.timing, 10, nil},
		{cluster.Gateway, 3, o.timing, 10, nil},
		{cluster.Gateway, 5, o.timing, 10, nil},
		{cluster.Gateway, 2, o.timing, 10, nil},
	} {
		if !listed(o.modes, c.mode.String()) || !listed(o.nodes, fmt.Sprint(c.nodes)) {
			continue
		}
		if o.count > 0 {
			c.count = o.count
		}
		c.kinds = failover.Cases(c.mode, c.nodes)
		c.kinds = slices.DeleteFunc(c.kinds, func(k failover.Case) bool { return !listed(o.faults, k.Name) })
		if len(c.kinds) > 0 {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("-mode %q -nodes %q -faults %q: nothing of that is part of the full run", o.modes, o.nodes, o.faults)
	}
	return all, nil
}

// withoutSaturation leaves out the fault that agents are to suffer from, where
// they have a real-time priority from whoever started this.
func withoutSaturation(all []campaign) ([]campaign, error) {
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return nil, fmt.Errorf("look at the own priority: %w", err)
	}
	if attr.Priority == 0 {
		return all, nil
	}
	fmt.Fprintln(os.Stderr, "soak: with a real-time priority the fault saturate is left out: agents would not suffer from it")
	for i := range all {
		all[i].kinds = slices.DeleteFunc(all[i].kinds, func(k failover.Case) bool { return k.Name == lab.Saturate.String() })
	}
	return all, nil
}

// listed says whether a list, with commas, has a word; an empty one has all.
func listed(list, word string) bool {
	return list == "" || strings.Contains(","+list+",", ","+word+",")
}
