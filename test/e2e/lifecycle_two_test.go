//go:build privileged

package e2e

import (
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
)

// Two gateways for one host, which share the switch of IPv6 forwarding. Only
// the busy one's links lead anywhere.
const (
	busyGateway = `
cluster: busy
mode: gateway
node: 1
nodes: [{id: 1}]
interfaces:
  - {name: eth1, side: client, addresses: [10.77.0.100, "fd77::100"]}
  - {name: eth2, side: server, addresses: [10.78.0.100, "fd78::100"]}
`
	idleGateway = `
cluster: idle
mode: gateway
node: 1
nodes: [{id: 1}]
interfaces:
  - {name: eth3, side: client, addresses: ["fd70::100"], l2: multicast}
  - {name: eth4, side: server, addresses: ["fd71::100"], l2: igmp}
`
)

// twoClusters is a host on which both run, and clients and a server of the busy
// one.
type twoClusters struct {
	h          *host
	idle, busy *process
	streams    []*stream
}

// upBoth brings both up, one first.
func upBoth(h *host, first string) *twoClusters {
	h.t.Helper()
	c := &twoClusters{h: h}
	if first == idleGateway {
		c.idle = h.up(h.file(idleGateway))
		c.busy = h.up(h.file(busyGateway))
	} else {
		c.busy = h.up(h.file(busyGateway))
		c.idle = h.up(h.file(idleGateway))
	}
	for _, target := range h.lab.Targets() {
		client := sameFamily(h.lab.ClientAddresses(), target)[0]
		c.streams = append(c.streams, newStream(h.t, h.lab.Clients, client, h.lab.Server, target))
	}
	return c
}

// flows waits until the busy one's streams have gone on.
func (c *twoClusters) flows() {
	c.h.t.Helper()
	for _, s := range c.streams {
		s.awaitFlow(c.h.t)
	}
}

func (c *twoClusters) idleThenBusy() {
	c.h.t.Helper()
	c.h.signal(c.idle, syscall.SIGTERM)
	c.flows()
	c.h.signal(c.busy, syscall.SIGTERM)
}

var twoEnds = []struct {
	name  string
	first string // comes up first
	end   func(c *twoClusters)
}{
	{"first ends first", idleGateway, (*twoClusters).idleThenBusy},
	{"second ends first", busyGateway, (*twoClusters).idleThenBusy},
	{"first is killed and taken down", idleGateway, func(c *twoClusters) {
		must(c.h.t, c.idle.cmd.Process.Kill())
		c.idle.wait(c.h.t)
		if out, exit := c.h.run("down", "idle"); exit != 0 {
			c.h.t.Errorf("exit status %d: %s", exit, out)
		}
		c.flows()
		c.h.signal(c.busy, syscall.SIGTERM)
	}},
	{"second is killed, first ends, both are taken down", idleGateway, func(c *twoClusters) {
		must(c.h.t, c.busy.cmd.Process.Kill())
		c.busy.wait(c.h.t)
		c.h.signal(c.idle, syscall.SIGTERM)
		c.h.down()
	}},
	{"first ends, starts again and ends last", idleGateway, func(c *twoClusters) {
		c.h.signal(c.idle, syscall.SIGTERM)
		c.flows()
		again := c.h.up(c.h.file(idleGateway))
		c.h.signal(c.busy, syscall.SIGTERM)
		c.h.signal(again, syscall.SIGTERM)
	}},
	{"both are told to end at once", idleGateway, func(c *twoClusters) {
		must(c.h.t, c.idle.cmd.Process.Signal(syscall.SIGTERM))
		must(c.h.t, c.busy.cmd.Process.Signal(syscall.SIGTERM))
		c.idle.wait(c.h.t)
		c.busy.wait(c.h.t)
	}},
}

// Whichever of two clusters ends first, and however, the other one goes on, and
// the last one puts the settings of the host back.
func TestLifecycleTwoClusters(t *testing.T) {
	for _, test := range twoEnds {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t, cluster.Gateway)
			h.addLoop("eth3", "eth4")
			h.harden()
			before := h.traces()
			c := upBoth(h, test.first)
			c.flows()
			test.end(c)
			h.checkNoTraces(before)
		})
	}
}

// addLoop adds two interfaces to the host that lead to each other.
func (h *host) addLoop(one, other string) {
	h.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = one
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: other}
	must(h.t, h.ns.Netlink().LinkAdd(veth))
	for i, name := range []string{one, other} {
		l, err := h.ns.Netlink().LinkByName(name)
		must(h.t, err)
		must(h.t, h.ns.Netlink().LinkSetUp(l))
		// What the kernel itself would add takes a while; none is wanted here.
		own, err := netlink.ParseAddr([]string{"fe80::31/64", "fe80::41/64"}[i])
		must(h.t, err)
		own.Flags = unix.IFA_F_NODAD
		must(h.t, h.ns.Netlink().AddrAdd(l, own))
		a, err := netlink.ParseAddr([]string{"10.70.0.1/24", "10.71.0.1/24"}[i])
		must(h.t, err)
		must(h.t, h.ns.Netlink().AddrAdd(l, a))
		group := []string{"ff02::1:ff00:31", "ff02::1:ff00:41"}[i]
		await(h.t, name+" to join the group of its address", func() bool {
			return strings.Contains(in(h.t, h.ns, "ip", "maddress", "show", "dev", name), group)
		})
	}
}
