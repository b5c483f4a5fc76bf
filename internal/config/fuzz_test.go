package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/share"
)

// FuzzParse checks that no text makes the parser panic, that a wrong one comes
// back with errors that can be printed, and that a right one keeps the promises
// that a cluster.Cluster makes.
func FuzzParse(f *testing.F) {
	f.Add(minimal)
	f.Add(correct)
	f.Add(Example)
	f.Add(healthy)
	for _, tt := range faults {
		f.Add(strings.Replace(correct, tt.old, tt.new, 1))
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("f", []byte(text), Options{Node: "1"})
		if err != nil {
			var errs Errors
			if !errors.As(err, &errs) || err.Error() == "" {
				t.Fatalf("got %v, want Errors", err)
			}
			return
		}
		check(t, c)
	})
}

func check(t *testing.T, c *cluster.Cluster) {
	if _, ok := c.Node(c.Self); !ok {
		t.Errorf("node %d is none of %+v", c.Self, c.Nodes)
	}
	if _, err := share.Static(c.Nodes, c.Hash.Buckets); err != nil {
		t.Error(err)
	}
	if c.Lease < cluster.MinLease || c.Lease > cluster.MaxLease {
		t.Errorf("lease %s", c.Lease)
	}
	if len(c.Interfaces) == 0 || len(c.Interfaces) > cluster.MaxInterfaces {
		t.Errorf("%d interfaces", len(c.Interfaces))
	}
	for _, ifc := range c.Interfaces {
		if err := cluster.CheckMAC(ifc.L2, ifc.MAC); err != nil {
			t.Error(err)
		}
		if len(ifc.Addresses) == 0 {
			t.Errorf("%s has no address", ifc.Name)
		}
		for _, a := range ifc.Addresses {
			if _, why := parseAddress(a.String()); why != "" {
				t.Errorf("%s %s", a, why)
			}
		}
	}
}
