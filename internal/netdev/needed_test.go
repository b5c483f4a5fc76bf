package netdev

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-net/shoal/internal/cluster"
)

func TestNeeded(t *testing.T) {
	v4 := []netip.Addr{netip.MustParseAddr("192.0.2.10")}
	v6 := []netip.Addr{netip.MustParseAddr("2001:db8::10")}
	both := append(append([]netip.Addr{}, v4...), v6...)
	backend := func(l2 cluster.L2, addrs []netip.Addr) *cluster.Cluster {
		return &cluster.Cluster{Interfaces: []cluster.Interface{{Name: "eth1.7", L2: l2, Addresses: addrs}}}
	}
	gateway := func(in, out []netip.Addr) *cluster.Cluster {
		return &cluster.Cluster{Mode: cluster.Gateway, Interfaces: []cluster.Interface{
			{Name: "eth1", Addresses: in},
			{Name: "eth2", Addresses: out, L2: cluster.Multicast},
		}}
	}
	for _, test := range []struct {
		name string
		c    *cluster.Cluster
		want []string // as listed
	}{
		{"unicast backend", backend(cluster.Unicast, both), nil},
		{"multicast backend", backend(cluster.Multicast, v4), []string{
			"net/ipv4/conf/all/drop_unicast_in_l2_multicast=0",
			"net/ipv4/conf/eth1.7/drop_unicast_in_l2_multicast=0",
		}},
		{"igmp backend", backend(cluster.IGMP, v6), []string{
			"net/ipv6/conf/eth1.7/drop_unicast_in_l2_multicast=0",
		}},
		{"IPv4 gateway", gateway(v4, v4), []string{
			"net/ipv4/conf/all/drop_unicast_in_l2_multicast=0",
			"net/ipv4/conf/eth2/drop_unicast_in_l2_multicast=0",
			"net/ipv4/conf/eth1/forwarding=1",
			"net/ipv4/conf/eth2/forwarding=1",
		}},
		{"gateway, IPv6 on one side's list only", gateway(v6, v4), []string{
			"net/ipv4/conf/all/drop_unicast_in_l2_multicast=0",
			"net/ipv4/conf/eth2/drop_unicast_in_l2_multicast=0",
			"net/ipv4/conf/eth1/forwarding=1",
			"net/ipv4/conf/eth2/forwarding=1",
			"net/ipv6/conf/eth1/accept_ra:1=2",
			"net/ipv6/conf/eth2/accept_ra:1=2",
			"net/ipv6/conf/all/forwarding=1",
			"net/ipv6/conf/eth1/forwarding=1",
			"net/ipv6/conf/eth2/forwarding=1",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, listed(t, Needed(test.c))); diff != "" {
				t.Errorf("needed sysctls (-want +got):\n%s", diff)
			}
		})
	}
}

// listed lists sysctls as key=value, or key:if=value. Each must have a reason.
func listed(t *testing.T, all []Sysctl) (lines []string) {
	t.Helper()
	for _, s := range all {
		key := s.Key
		if s.If != "" {
			key += ":" + s.If
		}
		lines = append(lines, key+"="+s.Value)
		if s.Why == "" {
			t.Errorf("%s has no reason", s.Key)
		}
	}
	return lines
}
