package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-net/shoal/internal/lab"
	"github.com/shoal-net/shoal/test/failover"
)

// A contender is a cluster that is to notice a failure after some time, and
// should notice none where there is none.
type contender struct {
	name, detects string
	build         func(ctx context.Context, o lab.Options, m lab.MonitorOptions) (*failover.Rig, error)
}

// A backup of keepalived waits for three advertisements and up to one more,
// RFC 5798 section 6.1: 30 ms make 90 to 120 ms, 10 ms make 30 to 40 ms.
var contenders = []contender{
	{"shoal, 20/100 ms", "100 ms", shoal(failover.DefaultTiming)},
	{"keepalived, 30 ms", "90–120 ms", keepalived(30*time.Millisecond, false)},
	{"keepalived, 30 ms, real-time priority", "90–120 ms", keepalived(30*time.Millisecond, true)},
	{"shoal, 5/30 ms", "30 ms", shoal(failover.FastTiming)},
	{"keepalived, 10 ms", "30–40 ms", keepalived(10*time.Millisecond, false)},
	{"keepalived, 10 ms, real-time priority", "30–40 ms", keepalived(10*time.Millisecond, true)},
}

type builder = func(context.Context, lab.Options, lab.MonitorOptions) (*failover.Rig, error)

func shoal(t failover.Timing) builder {
	return func(ctx context.Context, o lab.Options, m lab.MonitorOptions) (*failover.Rig, error) {
		return failover.NewShoal(ctx, o, t, m)
	}
}

func keepalived(advert time.Duration, realtime bool) builder {
	return func(ctx context.Context, o lab.Options, m lab.MonitorOptions) (*failover.Rig, error) {
		return failover.NewKeepalived(ctx, o, failover.KeepalivedOptions{Advert: advert, Realtime: realtime}, m)
	}
}

// All clusters run at once, so clients are asked less often than in faults.
const (
	busyClients  = 4 // of each family
	busyInterval = 10 * time.Millisecond
	busyNodes    = 3
	busyPeriod   = 5 * time.Second // between two looks at the counts
)

// A busy cluster and what was counted of it.
type busy struct {
	contender
	rig           *failover.Rig
	seen          time.Time // until when the counts go
	first         int       // takeovers that made the cluster
	echoes, lost  int
	doubles, gaps int
	longest       time.Duration
}

// saturate lets all contenders run side by side while processes that never wait
// use all CPU time, and writes what happened to soak-saturated.csv and .md.
func saturate(ctx context.Context, o options, binary string) (err error) {
	if _, err := exec.LookPath("keepalived"); err != nil {
		return fmt.Errorf("the peer: %w: apt-get install keepalived", err)
	}
	log, err := openLog(o.log)
	if err != nil {
		return err
	}
	var all []*busy
	defer func() {
		for _, b := range all {
			err = errors.Join(err, b.rig.Close())
		}
	}()
	for i, c := range contenders {
		rig, err := c.build(ctx, lab.Options{Name: fmt.Sprintf("soak-%d-%d", os.Getpid(), i), Nodes: busyNodes, Clients: busyClients,
			Binary: binary, Log: log, NoServices: true}, lab.MonitorOptions{Clients: busyClients, Interval: busyInterval})
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		all = append(all, &busy{contender: c, rig: rig})
		if _, err := rig.Settle(ctx, time.Now(), nil); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	heal, err := all[0].rig.Lab.Inject(lab.Fault{Kind: lab.Saturate})
	if err != nil {
		return err
	}
	began := time.Now()
	for _, b := range all {
		b.seen, b.first = began, b.rig.Cluster.Takeovers()
	}
	for time.Since(began) < o.saturate && err == nil {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(min(busyPeriod, o.saturate-time.Since(began))):
			err = look(all)
		}
	}
	took := time.Since(began)
	err = errors.Join(err, heal(context.Background()))
	if took < busyPeriod {
		return err
	}
	return errors.Join(err, writeSaturated(o.dir, all, took))
}

// look adds up what happened since the last look. What was sent lately is left
// for the next: its answers may be on their way.
func look(all []*busy) error {
	for _, b := range all {
		m := b.rig.Monitor
		h, next := m.Harvest(b.seen, time.Now().Add(-time.Second))
		b.seen = next
		for _, g := range h.Gaps {
			b.longest = max(b.longest, g.Length())
		}
		b.gaps += len(h.Gaps)
		b.echoes, b.lost, b.doubles = b.echoes+h.Sent, b.lost+h.Sent-h.Answered, b.doubles+h.Doubles
		fmt.Fprintf(os.Stderr, "%s: %d takeovers, %d of %d echoes lost, %d gaps, the longest %v, %d handled twice\n", b.name,
			b.rig.Cluster.Takeovers()-b.first, b.lost, b.echoes, b.gaps, b.longest.Round(time.Millisecond), b.doubles)
		if err := m.Err(); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	return nil
}

const saturatedHead = `# False takeovers on busy processors

    sudo go run ./test/soak -saturate 1h

Clusters of %d nodes each ran side by side for %v on %d CPUs, on which %d
processes that never wait used all the time that was left. Nothing failed, so
every takeover is false: a change of view in shoal, a node that became master in
keepalived (VRRPv3, one instance for each family). %d clients of each cluster sent
an echo every %v.

`

func writeSaturated(dir string, all []*busy, took time.Duration) error {
	var page strings.Builder
	fmt.Fprintf(&page, saturatedHead, busyNodes, took.Round(time.Second), runtime.NumCPU(), 2*runtime.NumCPU(), 2*busyClients, busyInterval)
	page.WriteString("| cluster | notices a failure after | false takeovers | echoes | lost | gaps | the longest | handled twice |\n|---|--:|--:|--:|--:|--:|--:|--:|\n")
	f, err := os.Create(filepath.Join(dir, "soak-saturated.csv"))
	if err != nil {
		return fmt.Errorf("write the counts: %w", err)
	}
	table := csv.NewWriter(f)
	table.Write([]string{"cluster", "seconds", "takeovers", "echoes", "lost", "gaps", "longest_ms", "twice"})
	for _, b := range all {
		takeovers := b.rig.Cluster.Takeovers() - b.first
		fmt.Fprintf(&page, "| %s | %s | %d | %d | %d | %d | %s ms | %d |\n", b.name, b.detects, takeovers, b.echoes, b.lost, b.gaps,
			millis(b.longest), b.doubles)
		table.Write([]string{b.name, strconv.Itoa(int(took.Seconds())), strconv.Itoa(takeovers), strconv.Itoa(b.echoes), strconv.Itoa(b.lost),
			strconv.Itoa(b.gaps), millis(b.longest), strconv.Itoa(b.doubles)})
	}
	table.Flush()
	err = errors.Join(table.Error(), f.Close(), os.WriteFile(filepath.Join(dir, "soak-saturated.md"), []byte(page.String()), 0o644))
	if err != nil {
		return fmt.Errorf("write the counts: %w", err)
	}
	return nil
}
