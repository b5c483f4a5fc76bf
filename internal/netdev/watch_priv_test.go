//go:build privileged

package netdev

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

func watch(t *testing.T) (events <-chan Event, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	events, err := Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return events, cancel
}

// expect waits for an event; others may come before it.
func expect(t *testing.T, events <-chan Event, want Event) {
	t.Helper()
	deadline := time.After(5 * time.Second)
	for {
		select {
		case e, open := <-events:
			if !open {
				t.Fatalf("closed while waiting for %v", want)
			}
			if e == want {
				return
			}
		case <-deadline:
			t.Fatalf("no event %v %+v", want.Kind, want)
		}
	}
}

func TestWatch(t *testing.T) {
	node, peer := pair(t)
	events, stop := watch(t)
	eth1 := info(t, "eth1").Index

	netlink.LinkSetMTU(device(t, "eth1"), 1400)
	expect(t, events, Event{Kind: LinkChanged, Name: "eth1", Index: eth1})
	netlink.LinkSetHardwareAddr(device(t, "eth1"), []byte{2, 0, 0, 0, 0, 0x55})
	expect(t, events, Event{Kind: LinkChanged, Name: "eth1", Index: eth1})
	peer.on(t, func() { netlink.LinkSetDown(device(t, "eth1")) })
	expect(t, events, Event{Kind: LinkChanged, Name: "eth1", Index: eth1})

	for _, addr := range []string{"192.0.2.10", "2001:db8::10"} {
		add(t, "eth1", addr)
		if err := RemoveAddress(eth1, netip.MustParseAddr(addr)); err != nil {
			t.Fatal(err)
		}
		expect(t, events, Event{Kind: AddressRemoved, Name: "eth1", Index: eth1, Addr: netip.MustParseAddr(addr)})
	}

	cable(t, node, "eth2", peer, "eth2")
	eth2 := info(t, "eth2").Index
	expect(t, events, Event{Kind: LinkAdded, Name: "eth2", Index: eth2})
	if err := netlink.LinkDel(device(t, "eth2")); err != nil {
		t.Fatal(err)
	}
	expect(t, events, Event{Kind: LinkRemoved, Name: "eth2", Index: eth2})

	stop()
	for {
		select {
		case _, open := <-events:
			if !open {
				return
			}
		case <-time.After(5 * time.Second):
			t.Fatal("the channel stays open")
		}
	}
}

// A port that leaves a bridge is not an interface that is gone.
func TestWatchBridgePort(t *testing.T) {
	pair(t)
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}); err != nil {
		t.Fatal(err)
	}
	events, _ := watch(t)
	if err := netlink.LinkSetMaster(device(t, "eth1"), device(t, "br0")); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetNoMaster(device(t, "eth1")); err != nil {
		t.Fatal(err)
	}
	netlink.LinkSetMTU(device(t, "eth1"), 1400)
	for e := range events {
		if e.Kind == LinkRemoved {
			t.Fatalf("unexpected %+v", e)
		}
		if e.Kind == LinkChanged && e.Name == "eth1" && info(t, "eth1").MTU == 1400 {
			return
		}
	}
	t.Fatal("closed")
}

func TestWatchOverflow(t *testing.T) {
	pair(t)
	events, _ := watch(t)
	eth1, addr := info(t, "eth1").Index, netip.MustParseAddr("192.0.2.10")
	for range 2000 { // nobody reads meanwhile
		add(t, "eth1", "192.0.2.10")
		if err := RemoveAddress(eth1, addr); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, events, Event{Kind: Resync})
	add(t, "eth1", "192.0.2.11")
	if err := RemoveAddress(eth1, netip.MustParseAddr("192.0.2.11")); err != nil {
		t.Fatal(err)
	}
	expect(t, events, Event{Kind: AddressRemoved, Name: "eth1", Index: eth1, Addr: netip.MustParseAddr("192.0.2.11")})
}

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
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	tables := func() (names []string) {
		list, err := c.ListTables()
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range list {
			names = append(names, table.Name)
			chain := &nftables.Chain{Name: "track"}
			if rules, err := c.GetRules(table, chain); err != nil || len(rules) != 1 {
				t.Errorf("table %s has %d rules, %v; want 1", table.Name, len(rules), err)
			}
		}
		return names
	}
	if got := tables(); len(got) != 2 {
		t.Errorf("tables %v", got)
	}
	for _, name := range []string{"web", "web"} {
		if err := UntrackConnections(name); err != nil {
			t.Fatal(err)
		}
	}
	if got := tables(); len(got) != 1 || got[0] != "shoal-other" {
		t.Errorf("tables %v after removal, want shoal-other", got)
	}
	if err := UntrackConnections("other"); err != nil {
		t.Fatal(err)
	}
}
