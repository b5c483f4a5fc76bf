//go:build privileged

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-net/shoal/internal/lab"
)

// Priorities of prerouting hooks, <linux/netfilter_ipv4.h>: what a gauge sees
// before anything else, fragments as they came, and behind the rules of the
// manual page.
const (
	beforeDefrag = -450
	behindMangle = -140
)

// Protocol numbers as gauges name them.
const (
	viaTCP  = "tcp"
	viaUDP  = "udp"
	viaICMP = "icmp"
)

// A handled names the packets of a client, by protocol.
type handled struct {
	client   netip.Addr
	protocol string
}

// A gauge counts the packets of the cluster that reach prerouting on a host:
// what it handles. A capture on the device would show what ingress drops, too.
type gauge struct {
	t    *testing.T
	name string
	ns   *lab.Namespace
}

// newGauge counts what the rules say: statements of nftables that update the
// sets @v4 or @v6.
func newGauge(t *testing.T, name string, ns *lab.Namespace, priority int, rules ...string) *gauge {
	t.Helper()
	g := &gauge{t, name, ns}
	g.nft(fmt.Sprintf(`table inet gauge {
		set v4 { type ipv4_addr . inet_proto; flags dynamic; size 65535; }
		set v6 { type ipv6_addr . inet_proto; flags dynamic; size 65535; }
		chain prerouting {
			type filter hook prerouting priority %d;
			icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } return
			%s
		}
	}`, priority, strings.Join(rules, "\n")))
	return g
}

// byClient counts, by client, packets to the targets that come in by eth1, and
// packets from the targets that come in by eth2.
func byClient(targets ...netip.Addr) []string {
	var rules []string
	for _, target := range targets {
		family, set := "ip", "v4"
		if target.Is6() {
			family, set = "ip6", "v6"
		}
		rules = append(rules,
			fmt.Sprintf("iifname eth1 %s daddr %s update @%s { %s saddr . meta l4proto counter }", family, target, set, family),
			fmt.Sprintf("iifname eth2 %s saddr %s update @%s { %s daddr . meta l4proto counter }", family, target, set, family))
	}
	return rules
}

func (g *gauge) nft(script string) string {
	g.t.Helper()
	out, err := g.ns.Run(g.t.Context(), "nft", "-j", script)
	if err != nil {
		g.t.Fatal(err)
	}
	return out
}

// reset begins anew.
func (g *gauge) reset() { g.t.Helper(); g.nft("flush set inet gauge v4; flush set inet gauge v6") }

// read returns packets by client and protocol.
func (g *gauge) read() map[handled]int {
	g.t.Helper()
	var list struct {
		Nftables []struct {
			Set struct {
				Elem []struct {
					Elem struct {
						Val struct {
							Concat [2]string `json:"concat"`
						} `json:"val"`
						Counter struct {
							Packets int `json:"packets"`
						} `json:"counter"`
					} `json:"elem"`
				} `json:"elem"`
			} `json:"set"`
		} `json:"nftables"`
	}
	out := g.nft("list table inet gauge")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		g.t.Fatalf("%s: %v: %s", g.name, err, out)
	}
	counts := map[handled]int{}
	for _, object := range list.Nftables {
		for _, e := range object.Set.Elem {
			client, protocol := netip.MustParseAddr(e.Elem.Val.Concat[0]), e.Elem.Val.Concat[1]
			if protocol == "ipv6-icmp" || protocol == "icmpv6" {
				protocol = viaICMP
			}
			counts[handled{client, protocol}] = e.Elem.Counter.Packets
		}
	}
	return counts
}

// total is the number of packets that the host handled.
func (g *gauge) total() int {
	g.t.Helper()
	n := 0
	for _, packets := range g.read() {
		n += packets
	}
	return n
}

// checkOneHandler fails the test unless each client's packets of each of the
// protocols reached prerouting on exactly one host, and every host had some.
func checkOneHandler(t *testing.T, gauges []*gauge, clients []netip.Addr, protocols ...string) {
	t.Helper()
	hosts := map[handled][]string{}
	for _, g := range gauges {
		counts := g.read()
		if len(counts) == 0 {
			t.Errorf("%s handled nothing", g.name)
		}
		for _, key := range slices.Collect(maps.Keys(counts)) {
			hosts[key] = append(hosts[key], g.name)
		}
	}
	for _, client := range clients {
		home := ""
		for _, protocol := range protocols {
			by := hosts[handled{client, protocol}]
			switch {
			case len(by) != 1:
				t.Errorf("%s of %s reached prerouting on %v, want exactly one host", protocol, client, by)
			case home != "" && by[0] != home:
				t.Errorf("%s of %s was handled by %s, what came before by %s", protocol, client, by[0], home)
			default:
				home = by[0]
			}
		}
	}
}

// gaugeNodes puts a gauge on every node of a lab.
func gaugeNodes(t *testing.T, l *lab.Lab) []*gauge {
	t.Helper()
	var gauges []*gauge
	for _, n := range l.Nodes {
		gauges = append(gauges, newGauge(t, n.Name, n.NS, beforeDefrag, byClient(l.Targets()...)...))
	}
	return gauges
}
