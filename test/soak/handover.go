package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/shoal-net/shoal/internal/lab"
	"github.com/shoal-net/shoal/test/handover"
)

const (
	handoverNodes   = 3
	handoverClients = 200 // addresses, of all families together
	transferMoves   = 100
)

// handoverOptions are the options of hand-overs.
type handoverOptions struct {
	run                          bool
	only                         string
	connections, changes, visits int
	flows, queries               int // of UDP
	period, lease                time.Duration
	seed                         uint64
}

// A part is what is measured alone, and makes a column of a table of the page.
type part struct {
	name  string
	table string
	run   func(ctx context.Context, o handoverOptions, l lab.Options) ([]figure, error)
}

// A figure is a row of a part's column.
type figure struct{ name, value string }

// The page's tables.
const (
	connectionsTable = "tcp"
	datagramsTable   = "udp"
	transferTable    = "transfer"
)

var parts = []part{
	{"shoal", connectionsTable, changed(handover.NewShoal, whole, connections)},
	{"gateways", connectionsTable, changed(handover.NewGateways, handover.WithoutReturns, connections)},
	{"recipe", connectionsTable, changed(handover.NewRecipe, whole, connections)},
	// A node that keeps flows is empty three minutes after their last datagram.
	{"keep", datagramsTable, changed(handover.NewUDP("keep"), handover.WithoutReturns, datagrams(handover.KeepLimits))},
	{"move", datagramsTable, changed(handover.NewUDP("move"), whole, datagrams(handover.MoveLimits))},
	{"conntrack", datagramsTable, changed(handover.NewUDPGateways, handover.WithoutReturns, datagrams(handover.KeepLimits))},
	{"upload", transferTable, transferred(true)},
	{"download", transferTable, transferred(false)},
}

func whole(plan []handover.Step) []handover.Step { return plan }

type newCluster = func(context.Context, lab.Options) (handover.Cluster, error)

// A use is what clients do with a cluster while it changes by a plan. It returns
// what is counted, as names and figures.
type use = func(context.Context, handoverOptions, handover.Cluster, []handover.Step) ([][2]string, error)

// changed lets a cluster change while it is used.
func changed(build newCluster, plan func([]handover.Step) []handover.Step, by use) func(context.Context, handoverOptions, lab.Options) ([]figure, error) {
	return func(ctx context.Context, o handoverOptions, l lab.Options) (all []figure, err error) {
		c, err := build(ctx, l)
		if err != nil {
			return nil, err
		}
		rows, err := by(ctx, o, c, plan(handover.Plan(o.seed, handoverNodes, o.changes)))
		for _, row := range rows {
			all = append(all, figure{row[0], row[1]})
		}
		return append(all, figure{"seed", fmt.Sprint(o.seed)}), errors.Join(err, c.Close())
	}
}

// connections are clients that keep them, and open others.
func connections(ctx context.Context, o handoverOptions, c handover.Cluster, plan []handover.Step) ([][2]string, error) {
	load := handover.Load{Connections: o.connections, Period: o.period, Visits: o.visits}
	r, err := handover.Run(ctx, c, load, plan, os.Stderr)
	if r == nil {
		return nil, err
	}
	fmt.Fprint(os.Stderr, r)
	return r.Rows(), err
}

// transferred hands the bucket of a transfer over again and again.
func transferred(upload bool) func(context.Context, handoverOptions, lab.Options) ([]figure, error) {
	return func(ctx context.Context, _ handoverOptions, l lab.Options) ([]figure, error) {
		c, err := handover.NewShoal(ctx, l)
		if err != nil {
			return nil, err
		}
		t, err := handover.RunTransfer(ctx, c, upload, transferMoves)
		if err = errors.Join(err, c.Close()); err != nil {
			return nil, err
		}
		all := []figure{{"hand-overs", fmt.Sprint(t.Moves)}}
		for _, s := range []struct {
			name   string
			slices []handover.Slice
		}{{"at rest", t.Rest}, {"during orders that change nothing", t.Idle}, {"during hand-overs", t.Moving}} {
			p := handover.PaceOf(s.slices)
			all = append(all, figure{s.name + ": Gbit/s", fmt.Sprintf("%.1f", p.Gbps)},
				figure{s.name + ": segments sent again, in a second", fmt.Sprintf("%.1f", p.Repeated)},
				figure{s.name + ": 50 ms in which there were some", fmt.Sprintf("%.1f %% of %d", 100*p.Touched, len(s.slices))},
				figure{s.name + ": the most in 50 ms", fmt.Sprint(p.Worst)})
		}
		fmt.Fprintln(os.Stderr, all)
		return all, nil
	}
}

// handOver runs parts one after the other, and renews their columns.
func handOver(ctx context.Context, o options, binary string) error {
	log, err := openLog(o.log)
	if err != nil {
		return err
	}
	r, err := openFigures(o.dir)
	if err != nil {
		return err
	}
	for i, p := range parts {
		if !listed(o.handover.only, p.name) && !listed(o.handover.only, p.table) {
			continue
		}
		fmt.Fprintln(os.Stderr, p.name+"…")
		l := lab.Options{Name: fmt.Sprintf("soak-%d-%d", os.Getpid(), i), Nodes: handoverNodes, Clients: handoverClients / 2, Binary: binary, Log: log,
			NodeConfig: func(_ int, file string) string { return file + fmt.Sprintf("lease: %v\n", o.handover.lease) }}
		if p.name == "recipe" { // which is of IPv4 only
			l.Clients = handoverClients
		}
		figures, err := p.run(ctx, o.handover, l)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		r[p.name] = append(figures, figure{"lease", o.handover.lease.String()}, figure{"commit", commit()})
		if err := r.write(o.dir); err != nil {
			return err
		}
	}
	return nil
}

const handoverHead = `# Connections when nodes come and go

    sudo make handover

makes changes of a cluster while clients use it, and writes this page, column by
column; the figures are in [handover.csv](handover.csv), too. ` + "`go run ./test/soak -h`" + `
tells how to run a part (` + "`-handover -only`" + `), and with other numbers.

`

// handoverText says what the columns and rows mean.
const handoverText = `
- Three nodes. *shoal*: backends, nginx on each. *gateways*:
  shoal with ` + "`flows: conntrack`" + `, nginx behind it, and on each node a firewall that lets
  TCP pass that is established or opens a connection, and drops what is
  ` + "`ct state invalid`" + `; ` + "`nf_conntrack_tcp_loose`" + ` is 0. *recipe*: the manual page of the
  cluster match, with 30 slices; a change gives other slices to the nodes, those
  that lose first, the fewest that it takes. IPv4 only, since it does not carry
  IPv6.
- Clients have 200 addresses, half IPv4 and half IPv6 (with the recipe all IPv4).
  Connections that are kept ask for a page every eight seconds; each has its own
  time. One is broken that ends although nobody wanted it to, has no answer for 15
  seconds, or is answered by another node than before. A new one takes its place.
- New connections ask once. Half of the clients think up to 0.3 seconds first, half
  of the connections are ended by the server.
- The changes are drawn from the seed: drains, drains ended (which is how a node
  joins, too), weights from 0 to 1000, and returns; up to three at once, asked for
  on any node, with up to two seconds between them. No drain has ended when the next
  change comes, since the connections that are kept do not end: buckets move again
  and again while they are drained. A *return* is a node that is drained; its clients
  end their connections after the next answer; then it is stopped, started a second
  later and undrained, all while other changes go on. (Behind
  gateways such a node is only undrained: their clients do not know it. With the
  recipe it is left out for a second, and its clients are not waited for.)
- *Resets that reached clients* are captured before their connection tracking.
  *Resets that clients sent* are their kernel's: answers to what was not for them.
- *Connections whose SYN was sent again* are of both sorts. A SYN that comes while
  its bucket has nobody for new flows is sent again by its kernel after a second:
  see [the time that this takes](benchmarks/handover.md). *Begun during a change*: a
  command was under way, or had returned less than 0.1 s ago. With 200 connections a
  second and a millisecond without an owner for a part of the buckets, one in some
  ten changes is to be expected, and more while clients of a node that returns open
  hundreds a second. *While a processor stood still*: a virtual machine's host takes
  them away now and then (steal time), and what is sent meanwhile may not fit into
  queues.
- A node that stands still for longer than its lease has failed, and has to end its
  connections. Virtual machines do that, as said; ` + "`-lease`" + ` allows for it. [soak.md](soak.md) is about failures.
`

const transferText = `
## One TCP transfer

One connection at full speed, whose node is drained and undrained in turn. Each order
is given twice, half a second apart; the second one changes nothing, and shows what the
command by itself takes from a machine on which all run. Retransmissions are those of
the sender's socket (` + "`TCP_INFO`" + `), read every 50 ms. *During*: from the command until 50
to 100 ms after it has returned.

`

// page is the Markdown of all that there are figures of.
func (r figures) page() string {
	var b strings.Builder
	b.WriteString(handoverHead)
	r.table(&b, connectionsTable)
	b.WriteString(handoverText)
	for _, t := range []struct{ name, text string }{{datagramsTable, datagramsText}, {transferTable, transferText}} {
		if slices.ContainsFunc(parts, func(p part) bool { return p.table == t.name && r[p.name] != nil }) {
			b.WriteString(t.text)
			r.table(&b, t.name)
		}
	}
	return b.String()
}
