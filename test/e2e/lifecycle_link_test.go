//go:build privileged

package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
)

// What can happen to an interface under a running node. Each is put right and
// logged, and the node goes on.
func TestLifecycleInterfaceChanges(t *testing.T) {
	for _, attach := range []string{"native", "tcx"} {
		t.Run(attach, func(t *testing.T) {
			h := newHost(t, cluster.Backend)
			p := h.up(h.file(oneNode("web", "eth1", addressesOf(h), ", attach: "+attach)))
			streams := h.clusterStreams()
			flows := func() {
				t.Helper()
				for _, s := range streams {
					s.awaitFlow(t)
				}
			}
			flows()
			for _, change := range []struct {
				what string
				make func(*host, *process)
				log  []string // words of lines that are to come
				n    int      // how many
			}{
				{"addresses removed", (*host).removeClusterAddresses, []string{"put a cluster address back that was gone"}, 2},
				{"MAC changed", func(h *host, _ *process) { h.setMAC("02:77:00:00:99:01") }, []string{"msg=attached", "mode=" + attach}, 1},
				{"MAC changed back", func(h *host, _ *process) { h.setMAC("02:77:00:00:00:01") }, []string{"msg=attached", "mode=" + attach}, 1},
				// The kernel drops IPv6 addresses of an interface that goes down.
				{"down and up", (*host).setDownAndUp, []string{"put a cluster address back that was gone", "address=fd77::100"}, 1},
				{"removed and made again", (*host).remakeLink, []string{"msg=attached", "mode=" + attach}, 1},
			} {
				t.Log(change.what)
				lines := p.log.count(change.log...)
				change.make(h, p)
				await(t, fmt.Sprintf("%d more lines with %q", change.n, change.log), func() bool {
					return p.log.count(change.log...) >= lines+change.n
				})
				flows()
				if s := statusOf(t, h.ns, h.instance); !s.Interfaces[0].Attached || len(s.Warnings) > 0 {
					t.Errorf("%s: attached %v, warnings %q", change.what, s.Interfaces[0].Attached, s.Warnings)
				}
			}
			if p.log.count("interface is not in order", "eth1: no such interface") != 1 {
				t.Errorf("the missing interface is not logged once:\n%s", p.log)
			}
			h.signal(p, syscall.SIGTERM)
			// The interface is not the one that was there before: nothing may be
			// on it that is the cluster's.
			for _, line := range h.traces() {
				for _, word := range []string{"10.77.0.100", "fd77::100", "02:bf:", "TCX", "xdp", h.instance} {
					if strings.Contains(line, word) {
						t.Error("left: ", line)
					}
				}
			}
		})
	}
}

func (h *host) link(name string) netlink.Link {
	h.t.Helper()
	l, err := h.ns.Netlink().LinkByName(name)
	must(h.t, err)
	return l
}

func (h *host) removeClusterAddresses(*process) {
	h.t.Helper()
	for _, a := range h.lab.ClusterAddresses() {
		must(h.t, h.ns.Netlink().AddrDel(h.link("eth1"), &netlink.Addr{IPNet: netlink.NewIPNet(a.AsSlice())}))
	}
}

func (h *host) setMAC(text string) {
	h.t.Helper()
	mac, err := net.ParseMAC(text)
	must(h.t, err)
	must(h.t, h.ns.Netlink().LinkSetHardwareAddr(h.link("eth1"), mac))
}

func (h *host) setDownAndUp(*process) {
	h.t.Helper()
	must(h.t, h.ns.Netlink().LinkSetDown(h.link("eth1")))
	must(h.t, h.ns.Netlink().LinkSetUp(h.link("eth1")))
	h.addOwnAddresses(unix.AF_INET6)
}

// addOwnAddresses gives eth1 the node's own addresses of a family, or of both
// if it is 0.
func (h *host) addOwnAddresses(family int) {
	h.t.Helper()
	own := []netip.Prefix{netip.MustParsePrefix("fe80::1/64")}
	for _, a := range h.lab.Nodes[0].Addresses() {
		bits := 64
		if a.Is4() {
			bits = 16
		}
		own = append(own, netip.PrefixFrom(a, bits))
	}
	for _, p := range own {
		if p.Addr().Is4() && family == unix.AF_INET6 {
			continue
		}
		a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		must(h.t, h.ns.Netlink().AddrAdd(h.link("eth1"), a))
	}
}

// remakeLink removes the cable to the host and, when the agent has seen that,
// lays another one.
func (h *host) remakeLink(p *process) {
	h.t.Helper()
	must(h.t, h.ns.Netlink().LinkDel(h.link("eth1")))
	p.log.awaitLine(h.t, 0, "interface is not in order", "eth1: no such interface")
	if s := statusOf(h.t, h.ns, h.instance); s.Interfaces[0].Attached || len(s.Warnings) != 1 {
		h.t.Errorf("without the interface: attached %v, warnings %q", s.Interfaces[0].Attached, s.Warnings)
	}
	sw := h.lab.Switch.Netlink()
	bridge, err := sw.LinkByName("br-client")
	must(h.t, err)
	inside, err := netns.GetFromName(h.ns.Name)
	must(h.t, err)
	defer inside.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = "node1-c", bridge.Attrs().Index
	port := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth1", PeerNamespace: netlink.NsFd(inside),
		PeerHardwareAddr: net.HardwareAddr{2, 0x77, 0, 0, 0, 1}}
	must(h.t, sw.LinkAdd(port))
	must(h.t, sw.LinkSetUp(port))
	must(h.t, h.ns.Netlink().LinkSetUp(h.link("eth1")))
	h.addOwnAddresses(0)
}
