//go:build privileged

package e2e

import (
	"strings"
	"testing"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/lab"
)

// A gateway that is to keep flows by connection tracking does not start where
// nothing tracks connections.
func TestConntrackInactive(t *testing.T) {
	l, err := lab.New(t.Context(), lab.Options{Name: labName(), Binary: shoal, Nodes: 2, Clients: 1, Mode: cluster.Gateway,
		NodeConfig: func(_ int, file string) string { return file + "flows: conntrack\n" }})
	if err == nil {
		l.Close()
		t.Fatal("it starts")
	}
	for _, part := range []string{"flows: conntrack, but IPv4 connections are not tracked here", "write `flows: none`"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
}
