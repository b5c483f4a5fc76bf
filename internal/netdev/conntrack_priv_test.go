//go:build privileged

package netdev

import (
	"testing"
	"time"

	"github.com/google/nftables"
)

func TestTrackConnections(t *testing.T) {
	_, peer := pair(t)
	own(t, "eth1", "192.0.2.1/24")
	echo(t, "192.0.2.1:7")
	request := func() {
		t.Helper()
		peer.on(t, func() {
			if !ask(t, "192.0.2.1:7", 5*time.Second) {
				t.Fatal("no answer")
			}
		})
	}
	peer.on(t, func() { own(t, "eth1", "192.0.2.99/24") })
	tracked := func() string { return read(t, "net/netfilter/nf_conntrack_count") }

	request()
	if got := tracked(); got != "0" {
		t.Fatalf("%s connections tracked before", got)
	}
	for _, name := range []string{"web", "web", "other"} {
		if err := TrackConnections(name); err != nil {
			t.Fatal(err)
		}
	}
	request()
	if got := tracked(); got != "1" {
		t.Errorf("%s connections tracked, want 1", got)
	}
	if got := tables(t); len(got) != 2 {
		t.Errorf("tables %v", got)
	}
	for _, name := range []string{"web", "web"} {
		if err := UntrackConnections(name); err != nil {
			t.Fatal(err)
		}
	}
	if got := tables(t); len(got) != 1 || got[0] != "shoal-other" {
		t.Errorf("tables %v after removal, want shoal-other", got)
	}
	if err := UntrackConnections("other"); err != nil {
		t.Fatal(err)
	}
}

// tables lists the nftables tables, each of which must have one rule.
func tables(t *testing.T) (names []string) {
	t.Helper()
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range list {
		names = append(names, table.Name)
		if rules, err := c.GetRules(table, &nftables.Chain{Name: "track"}); err != nil || len(rules) != 1 {
			t.Errorf("table %s has %d rules, %v; want 1", table.Name, len(rules), err)
		}
	}
	return names
}
