//go:build privileged

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/shoal-net/shoal/internal/heartbeat"
	"github.com/shoal-net/shoal/internal/lab"
)

// ordered is what a command about a node says with -o json.
type ordered struct {
	Order    string `json:"order"`
	Node     int    `json:"node"`
	Name     string `json:"name"`
	Weight   int    `json:"weight"`
	Changed  bool   `json:"changed"`
	AskedOn  string `json:"asked_on"`
	Buckets  int    `json:"buckets"`
	Complete bool   `json:"complete"`
}

// give runs a command about a node on a node.
func give(t *testing.T, on *lab.Node, args ...string) (o ordered) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), shoal, append(args, "-o", "json", "--instance", on.Instance)...)
	var out, progress bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &progress
	must(t, on.NS.Start(cmd))
	if err := cmd.Wait(); err != nil {
		t.Fatalf("shoal %s: %v: %s", strings.Join(args, " "), err, &progress)
	}
	if err := json.Unmarshal(out.Bytes(), &o); err != nil {
		t.Fatalf("shoal %s: %v in\n%s", strings.Join(args, " "), err, &out)
	}
	return o
}

// Orders can be given anywhere, and twice; they and who gave them outlive the
// agents, one after the other, and with them the coordinator.
func TestOrdersOutliveAgents(t *testing.T) {
	l, _ := startMembers(t, lab.Options{Nodes: 3})
	if o := give(t, l.Nodes[0], "drain", "node2"); o.Order != "drain" || o.Node != 2 || !o.Changed || o.AskedOn != "node1" || !o.Complete || o.Buckets != 0 {
		t.Errorf("drain: %+v", o)
	}
	if o := give(t, l.Nodes[2], "drain", "2"); o.Changed || o.AskedOn != "node1" || !o.Complete {
		t.Errorf("drain again, elsewhere: %+v", o)
	}
	if o := give(t, l.Nodes[1], "weight", "node3", "50"); !o.Changed || o.Weight != 50 || o.AskedOn != "node2" {
		t.Errorf("weight: %+v", o)
	}
	if o := give(t, l.Nodes[0], "weight", "node3", "50"); o.Changed || o.AskedOn != "node2" {
		t.Errorf("weight again: %+v", o)
	}
	stands := func(m *heartbeat.Status) bool {
		two, three := nodeOf(m, 2), nodeOf(m, 3)
		return m.View != nil && two.DrainedBy == 1 && two.Buckets == 0 && two.Present && three.OrderedBy == 2 && three.Weight == 50 &&
			three.State == "serving" && three.Buckets > 1300 && three.Buckets < 1400
	}
	for _, n := range l.Nodes {
		must(t, n.Stop(t.Context()))
		must(t, n.Start(t.Context()))
		for _, at := range l.Nodes {
			awaitMembers(t, at, "the drain and the weight after "+n.Name+" began anew", stands)
		}
	}
	out := in(t, l.Nodes[2].NS, shoal, "status", "--instance", l.Nodes[2].Instance, "--interval", "10ms")
	for _, part := range []string{"node2: drained, asked for on node1", "node3: weight 50, asked for on node2"} {
		if !strings.Contains(out, part) {
			t.Errorf("%q is not in\n%s", part, out)
		}
	}
	if o := give(t, l.Nodes[1], "undrain", "node2"); !o.Changed || o.AskedOn != "" {
		t.Errorf("undrain: %+v", o)
	}
	if o := give(t, l.Nodes[2], "undrain", "node2"); o.Changed {
		t.Errorf("undrain again: %+v", o)
	}
	if o := give(t, l.Nodes[2], "weight", "node3", "file"); !o.Changed || o.Weight != 100 {
		t.Errorf("the file's weight: %+v", o)
	}
	awaitMembers(t, l.Nodes[0], "even shares", func(m *heartbeat.Status) bool {
		return nodeOf(m, 2).Buckets >= 1365 && nodeOf(m, 3).Buckets >= 1365
	})
}

// What cannot be is refused, with the way out.
func TestOrdersRefused(t *testing.T) {
	l, _ := startMembers(t, lab.Options{Nodes: 2})
	n := l.Nodes[0]
	refused := func(want string, exit int, args ...string) {
		t.Helper()
		out, err := n.NS.Run(t.Context(), shoal, append(args, "--instance", n.Instance)...)
		var ended *exec.ExitError
		if !errors.As(err, &ended) || ended.ExitCode() != exit || !strings.Contains(err.Error()+out, want) {
			t.Errorf("shoal %s: %v %s, want status %d and %q", strings.Join(args, " "), err, out, exit, want)
		}
	}
	refused(`there is no node "delta"; there are node1 (1), node2 (2)`, 2, "drain", "delta")
	refused("must be 0 to 1000", 2, "weight", "2", "1001")
	refused("choose one", 2, "drain", "2", "--no-wait", "--timeout", "3s")
	give(t, n, "drain", "node2")
	refused("no node but node1 serves", 1, "drain", "node1", "--no-wait")
	refused("no node but node1 serves", 1, "weight", "node1", "0")
	give(t, n, "drain", "node1", "--force", "--no-wait")
	give(t, n, "undrain", "node1")
	must(t, n.Kill())
	refused("the agent does not run: start it with `shoal up`, or ask on another node", 1, "undrain", "node2")
	must(t, n.Start(t.Context()))
}
