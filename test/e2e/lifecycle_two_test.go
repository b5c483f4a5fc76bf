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

// Whichever of two clusters ends first, and however, the other one goes on, and
// the last one puts the settings of the host back.
func TestLifecycleTwoClusters(t *testing.T) {
	type run struct {
		h          *host
		idle, busy *process
		flows      func()
	}
	for _, c := range []struct {
		name  string
		first string // comes up first
		end   func(r run)
	}{
		{"first ends first", idleGateway, func(r run) {
			r.h.signal(r.idle, syscall.SIGTERM)
			r.flows()
			r.h.signal(r.busy, syscall.SIGTERM)
		}},
		{"second ends first", busyGateway, func(r run) {
			r.h.signal(r.idle, syscall.SIGTERM)
			r.flows()
			r.h.signal(r.busy, syscall.SIGTERM)
		}},
		{"first is killed and taken down", idleGateway, func(r run) {
			must(r.h.t, r.idle.cmd.Process.Kill())
			r.idle.wait(r.h.t)
			if out, exit := r.h.run("down", "idle"); exit != 0 {
				r.h.t.Errorf("exit status %d: %s", exit, out)
			}
			r.flows()
			r.h.signal(r.busy, syscall.SIGTERM)
		}},
		{"second is killed, first ends, both are taken down", idleGateway, func(r run) {
			must(r.h.t, r.busy.cmd.Process.Kill())
			r.busy.wait(r.h.t)
			r.h.signal(r.idle, syscall.SIGTERM)
			r.h.down()
		}},
		{"first ends, starts again and ends last", idleGateway, func(r run) {
			r.h.signal(r.idle, syscall.SIGTERM)
			r.flows()
			again := r.h.up(r.h.file(idleGateway))
			r.h.signal(r.busy, syscall.SIGTERM)
			r.h.signal(again, syscall.SIGTERM)
		}},
		{"both are told to end at once", idleGateway, func(r run) {
			must(r.h.t, r.idle.cmd.Process.Signal(syscall.SIGTERM))
			must(r.h.t, r.busy.cmd.Process.Signal(syscall.SIGTERM))
			r.idle.wait(r.h.t)
			r.busy.wait(r.h.t)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, cluster.Gateway)
			h.addLoop("eth3", "eth4")
			h.harden()
			before := h.traces()
			r := run{h: h}
			if c.first == idleGateway {
				r.idle = h.up(h.file(idleGateway))
				r.busy = h.up(h.file(busyGateway))
			} else {
				r.busy = h.up(h.file(busyGateway))
				r.idle = h.up(h.file(idleGateway))
			}
			var streams []*stream
			for _, target := range h.lab.Targets() {
				client := sameFamily(h.lab.ClientAddresses(), target)[0]
				streams = append(streams, newStream(t, h.lab.Clients, client, h.lab.Server, target))
			}
			r.flows = func() {
				t.Helper()
				for _, s := range streams {
					s.awaitFlow(t)
				}
			}
			r.flows()
			c.end(r)
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
