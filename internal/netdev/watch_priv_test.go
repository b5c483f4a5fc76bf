//go:build privileged

package netdev

import (
	"context"
	"net/netip"
	"testing"
	"time"

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
	add(t, "eth1", "192.0.2.10")
	if err := RemoveAddress(info(t, "eth1").Index, netip.MustParseAddr("192.0.2.10")); err != nil {
		t.Fatal(err)
	}
	for e := range events {
		if e.Kind == LinkRemoved {
			t.Fatalf("unexpected %+v", e)
		}
		if e.Kind == AddressRemoved && e.Addr.Is4() {
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
