package lab

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shoal-net/shoal/internal/cluster"
)

func TestAddresses(t *testing.T) {
	for _, test := range []struct {
		n    int
		want []string
	}{
		{1, []string{"10.77.0.1", "fd77::1"}},
		{64, []string{"10.77.0.64", "fd77::64"}},
		{hostVIP, []string{"10.77.0.100", "fd77::100"}},
		{clientHost(0), []string{"10.77.1.1", "fd77::1:1"}},
		{clientHost(253), []string{"10.77.1.254", "fd77::1:254"}},
		{clientHost(254), []string{"10.77.2.1", "fd77::2:1"}},
	} {
		var got []string
		for _, a := range clientSegment.hosts(0, test.n) {
			got = append(got, a.String())
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("host %d: %s", test.n, diff)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, test := range []struct {
		o     Options
		wrong string // "": right
	}{
		{Options{}, ""},
		{Options{Nodes: cluster.MaxNodes, Clients: MaxClients, Name: "a-1"}, ""},
		{Options{Nodes: cluster.MaxNodes + 1}, "65 nodes"},
		{Options{Nodes: -1}, "-1 nodes"},
		{Options{Clients: MaxClients + 1}, "901 clients"},
		{Options{Name: "My lab"}, `"My lab"`},
		{Options{Name: "../x"}, `"../x"`},
		{Options{MTU: 1279}, "1279"},
		{Options{RouterMTU: 1501}, "1501"},
		{Options{MTU: 9000, RouterMTU: 1501}, ""},
	} {
		err := test.o.Validate()
		if (err == nil) != (test.wrong == "") || err != nil && !strings.Contains(err.Error(), test.wrong) {
			t.Errorf("%+v: %v, want %q", test.o, err, test.wrong)
		}
	}
}

// Every address of a lab is there once, every cable has its parts, and every
// route's next hop is on a link of its host.
func TestPlansAreConsistent(t *testing.T) {
	for name, p := range map[string]plan{
		"backend":        {Options{Nodes: 5, Clients: 300}},
		"gateway":        {Options{Nodes: 64, Clients: MaxClients, Mode: cluster.Gateway}},
		"routed backend": {Options{Nodes: 1, Clients: 1, RouterMTU: 1300}},
		"routed gateway": {Options{Nodes: 2, Clients: 10, RouterMTU: 1300, Mode: cluster.Gateway}},
		"IPv6 only":      {Options{Nodes: 2, Clients: 10, Families: IPv6, Mode: cluster.Gateway}},
	} {
		parts := map[string]bool{}
		for _, part := range p.parts() {
			parts[part] = true
		}
		links := map[[2]string]bool{}
		for _, c := range p.cables() {
			for _, e := range []end{c.a, c.b} {
				id := [2]string{e.part, e.link}
				if !parts[e.part] || links[id] {
					t.Errorf("%s: end %v of no part, or twice", name, id)
				}
				links[id] = true
			}
		}
		owner := map[netip.Addr][2]string{}
		for _, i := range p.ifaces() {
			id := [2]string{i.part, i.link}
			if !links[id] {
				t.Errorf("%s: %v has no cable", name, id)
			}
			for _, a := range i.addrs {
				if other, ok := owner[a.Addr()]; ok && !a.Addr().IsLinkLocalUnicast() {
					t.Errorf("%s: %s on %v and %v", name, a, other, id)
				}
				owner[a.Addr()] = id
			}
			for _, r := range i.routes {
				if !onLink(i, r.via) || r.to.Addr().Is4() != r.via.Is4() {
					t.Errorf("%s: %v has no way to %s via %s", name, id, r.to, r.via)
				}
			}
		}
		if got, want := len(p.clients()), p.Clients*len(p.targets()); got != want {
			t.Errorf("%s: %d client addresses, want %d", name, got, want)
		}
		for _, c := range p.clients() {
			if owner[c] != [2]string{partClients, leafEth} {
				t.Errorf("%s: client %s is on %v", name, c, owner[c])
			}
		}
	}
}

func onLink(i iface, a netip.Addr) bool {
	for _, p := range i.addrs {
		if p.Masked().Contains(a) {
			return true
		}
	}
	return false
}

func TestNodeFile(t *testing.T) {
	p := plan{Options{Nodes: 2, Mode: cluster.Gateway, L2: cluster.Multicast, Attach: cluster.AttachTCX}}
	want := `cluster: lab
mode: gateway
node: 2
interfaces:
  - name: eth1
    side: client
    addresses:
      - "10.77.0.100"
      - "fd77::100"
    l2: multicast
    attach: tcx
  - name: eth2
    side: server
    addresses:
      - "10.78.0.100"
      - "fd78::100"
    l2: multicast
    attach: tcx
nodes:
  - {id: 1, name: node1, addresses: ["10.77.0.1", "10.78.0.1", "fe80::1"]}
  - {id: 2, name: node2, addresses: ["10.77.0.2", "10.78.0.2", "fe80::2"]}
hash: {seed: 0xdeadbeef, buckets: 4096, affinity: client}
`
	if diff := cmp.Diff(want, p.nodeFile(2)); diff != "" {
		t.Error(diff)
	}
}
