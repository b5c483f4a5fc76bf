//go:build privileged

package e2e

import (
	"encoding/json"
	"testing"

	"github.com/shoal-net/shoal/internal/agent"
	"github.com/shoal-net/shoal/internal/lab"
)

// status is what shoal status says of a lab's node.
func status(t *testing.T, n *lab.Node) agent.Status {
	t.Helper()
	return statusOf(t, n.NS, n.Instance)
}

func statusOf(t *testing.T, ns *lab.Namespace, instance string) agent.Status {
	t.Helper()
	out, err := ns.Run(t.Context(), shoal, "status", "--instance", instance, "--interval", "10ms", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var all []agent.Status
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 {
		t.Fatalf("%d clusters (%v) in %s", len(all), err, out)
	}
	return all[0]
}
