//go:build privileged

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shoal-net/shoal/internal/heartbeat"
	"github.com/shoal-net/shoal/internal/lab"
)

// A webServer is a node's service, which can be ended and begun anew.
type webServer struct {
	node *lab.Node
	open net.Listener
	asks atomic.Int64 // answered
}

func (w *webServer) start(t *testing.T) {
	t.Helper()
	var err error
	w.open, err = w.node.NS.Listen("tcp", ":8080")
	must(t, err)
	go http.Serve(w.open, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		io.WriteString(rw, "well\n")
		w.asks.Add(1)
	}))
	t.Cleanup(func() { w.open.Close() })
}

func (w *webServer) stop() { w.open.Close() }

// startHealth builds a lab whose nodes check a service of their own, which
// passes.
func startHealth(t *testing.T, nodes int, policy string) (*lab.Lab, *logbook, []*webServer) {
	t.Helper()
	l, log := newLab(t, lab.Options{Nodes: nodes, Clients: 1, NoServices: true, NodeConfig: func(_ int, file string) string {
		return file + "all-unhealthy: " + policy + "\nhealth: []\n"
	}})
	var all []*webServer
	for _, n := range l.Nodes {
		w := &webServer{node: n}
		w.start(t)
		all = append(all, w)
		rewrite(t, n, "health: []\n", `health:
  - {http: "http://10.77.0.100:8080/", body: well, interval: 100ms, timeout: 100ms, fall: 2, rise: 2}
  - {tcp: "[fd77::100]:8080", interval: 100ms, timeout: 100ms, fall: 2, rise: 2}
`)
		reload(t, n)
	}
	for _, w := range all {
		await(t, "a check", func() bool { return w.asks.Load() > 0 })
	}
	awaitMembers(t, l.Nodes[0], "all nodes to be healthy", func(m *heartbeat.Status) bool { return everyoneHas(m, 4096/nodes) })
	return l, log, all
}

// everyoneHas says whether every node has at least that many buckets.
func everyoneHas(m *heartbeat.Status, least int) bool {
	for _, n := range m.Nodes {
		if n.Buckets < least {
			return false
		}
	}
	return m.View != nil
}

// A node whose service fails hands its buckets over and stays; it gets them
// back when the service passes again, which the checks see although the node
// has no buckets: they ask the node itself. When it fails again it has to pass
// for longer.
func TestHealthLeavesAndComesBack(t *testing.T) {
	l, log, web := startHealth(t, 3, "keep")
	out := func(m *heartbeat.Status) bool {
		two := nodeOf(m, 2)
		return two.Present && two.Buckets == 0 && two.HealthLimit == 0 && nodeOf(m, 1).Buckets+nodeOf(m, 3).Buckets == 4096
	}
	web[1].stop()
	awaitMembers(t, l.Nodes[0], "node 2 to have no buckets", out)
	awaitMembers(t, l.Nodes[1], "the reason", func(m *heartbeat.Status) bool {
		return warned(m, "this node's service: http") && warned(m, "connection refused")
	})
	text := in(t, l.Nodes[0].NS, shoal, "status", "--instance", l.Nodes[0].Instance, "--interval", "10ms")
	if want := "node2: unhealthy, as its checks say"; !strings.Contains(text, want) {
		t.Errorf("%q is not in\n%s", want, text)
	}
	web[1].start(t)
	awaitMembers(t, l.Nodes[0], "node 2 to be back", func(m *heartbeat.Status) bool { return everyoneHas(m, 1365) })
	if m := members(t, l.Nodes[1]); warned(m, "this node's service") {
		t.Errorf("still warned: %q", m.Warnings)
	}
	web[1].stop()
	awaitMembers(t, l.Nodes[0], "node 2 to have no buckets again", out)
	await(t, "damping in the log", func() bool { return log.count("node2", "has to pass for 10s") > 0 })
	web[1].start(t)
	answered := web[1].asks.Load()
	await(t, "the service to pass ten times", func() bool { return web[1].asks.Load() >= answered+10 })
	if m := members(t, l.Nodes[0]); !out(m) {
		t.Errorf("node 2 was back before its time: %+v", nodeOf(m, 2))
	}
}

// When all nodes are unhealthy, the policy decides what becomes of the buckets.
func TestHealthAllUnhealthy(t *testing.T) {
	for policy, left := range map[string]int{"keep": 4096, "drop": 0} {
		t.Run(policy, func(t *testing.T) {
			l, _, web := startHealth(t, 2, policy)
			for _, w := range web {
				w.stop()
			}
			awaitMembers(t, l.Nodes[0], fmt.Sprintf("both to be unhealthy, and %d buckets", left), func(m *heartbeat.Status) bool {
				one, two := nodeOf(m, 1), nodeOf(m, 2)
				return one.HealthLimit == 0 && two.HealthLimit == 0 && m.View != nil && m.View.SinceMS > 300 && one.Buckets+two.Buckets == left
			})
			for _, w := range web {
				w.start(t)
			}
			awaitMembers(t, l.Nodes[0], "both to serve again", func(m *heartbeat.Status) bool { return everyoneHas(m, 2048) })
		})
	}
}
