//go:build privileged

package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/agent"
	"github.com/shoal-net/shoal/internal/heartbeat"
	"github.com/shoal-net/shoal/internal/lab"
)

// startMembers builds a lab whose nodes know each other and have shared the
// buckets out.
func startMembers(t *testing.T, o lab.Options) (*lab.Lab, *logbook) {
	t.Helper()
	o.NoServices, o.Clients = true, 1
	l, log := newLab(t, o)
	must(t, l.Settle(t.Context()))
	awaitMembers(t, l.Nodes[0], "a view that is final", func(m *heartbeat.Status) bool {
		return m.View != nil && m.View.SinceMS > 500 && m.View.Moving == 0 && !slices.ContainsFunc(m.Nodes, func(n heartbeat.NodeStatus) bool { return !n.SameView })
	})
	return l, log
}

// members is what a node knows of the cluster; nil: nothing, for now.
func members(t *testing.T, n *lab.Node) *heartbeat.Status {
	t.Helper()
	return statusOf(t, n.NS, n.Instance).Members
}

func awaitMembers(t *testing.T, n *lab.Node, what string, holds func(*heartbeat.Status) bool) (m *heartbeat.Status) {
	t.Helper()
	await(t, n.Name+": "+what, func() bool {
		m = members(t, n)
		return m != nil && holds(m)
	})
	return m
}

func nodeOf(m *heartbeat.Status, id int) heartbeat.NodeStatus {
	i := slices.IndexFunc(m.Nodes, func(n heartbeat.NodeStatus) bool { return n.ID == id })
	if i < 0 {
		return heartbeat.NodeStatus{}
	}
	return m.Nodes[i]
}

func warned(m *heartbeat.Status, part string) bool {
	return slices.ContainsFunc(m.Warnings, func(w string) bool { return strings.Contains(w, part) })
}

// rewrite edits a node's file.
func rewrite(t *testing.T, n *lab.Node, old, new string) {
	t.Helper()
	text, err := os.ReadFile(n.Config)
	must(t, err)
	edited := strings.Replace(string(text), old, new, 1)
	if edited == string(text) {
		t.Fatalf("%q is not in the file:\n%s", old, text)
	}
	must(t, os.WriteFile(n.Config, []byte(edited), 0o600))
}

func reload(t *testing.T, n *lab.Node) {
	t.Helper()
	in(t, n.NS, shoal, "reload", "lab", "--instance", n.Instance)
}

// patientLease is for tests in which nothing is to lapse on a busy machine.
func patientLease(_ int, file string) string { return file + "lease: 500ms\nheartbeat: 20ms\n" }

// watchLease looks at a node's lease again and again; the function it returns
// says how often there was none.
func watchLease(t *testing.T, n *lab.Node) (lapses func() int) {
	t.Helper()
	stop, count := make(chan struct{}), make(chan int)
	paths, err := agent.NewPaths(n.Instance, "lab")
	must(t, err)
	go func() {
		missing := 0
		for {
			select {
			case <-stop:
				count <- missing
				return
			default:
			}
			if s, err := agent.ReadStatus(paths, time.Millisecond); err == nil && !s.Lease.Valid {
				missing++
			}
		}
	}()
	return func() int {
		close(stop)
		return <-count
	}
}
