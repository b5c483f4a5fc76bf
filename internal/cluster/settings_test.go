package cluster

import (
	"net/netip"
	"testing"
	"time"
)

func described() *Cluster {
	return &Cluster{
		Name: "web", Mode: Gateway, Self: 1, Lease: DefaultLease,
		Nodes: []Node{{ID: 1, Weight: 100}, {ID: 2, Weight: 100}},
		Interfaces: []Interface{
			{Name: "eth1", MAC: MAC{1}, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10")}},
			{Name: "eth2", MAC: MAC{2}, Side: ServerSide, Addresses: []netip.Addr{netip.MustParseAddr("fe80::1")}},
		},
		Hash:       Hash{Buckets: 4096},
		Membership: Membership{Heartbeat: 20 * time.Millisecond},
	}
}

// Each setting is told from all others; what may differ changes none.
func TestSettings(t *testing.T) {
	plain, names := described().Settings()
	for _, tt := range []struct {
		differs string
		change  func(*Cluster)
	}{
		{"mode", func(c *Cluster) { c.Mode = Backend }},
		{"hash.seed", func(c *Cluster) { c.Hash.Seed = 1 }},
		{"hash.buckets", func(c *Cluster) { c.Hash.Buckets = 64 }},
		{"hash.affinity", func(c *Cluster) { c.Hash.Affinity = ByNetwork }},
		{"hash.ipv6", func(c *Cluster) { c.Hash.IPv6FirstWord = true }},
		{"hash.key", func(c *Cluster) { c.Hash.Key = KeyOriginal }},
		{"interfaces: side", func(c *Cluster) { c.Interfaces[0].Side, c.Interfaces[1].Side = ServerSide, ClientSide }},
		{"interfaces: mac", func(c *Cluster) { c.Interfaces[0].MAC, c.Interfaces[1].MAC = MAC{2}, MAC{1} }},
		{"interfaces: addresses", func(c *Cluster) { c.Interfaces[1].Addresses = c.Interfaces[0].Addresses }},
		{"heartbeat-interfaces", func(c *Cluster) { c.Membership.Interfaces = []string{"eth3"} }},
		{"lease", func(c *Cluster) { c.Lease = time.Second }},
		{"heartbeat", func(c *Cluster) { c.Membership.Heartbeat = 5 * time.Millisecond }},
		{"udp", func(c *Cluster) { c.Handover.UDP = UDPKeep }},
		{"flows", func(c *Cluster) { c.Handover.Flows = FlowsConntrack }},
		{"drain", func(c *Cluster) { c.Handover.Drain = time.Minute }},
		{"all-unhealthy", func(c *Cluster) { c.Health.AllUnhealthy = UnhealthyDrop }},
		{"", func(c *Cluster) {
			c.Health.Checks = []Check{{Kind: CheckExec}}
			c.Self, c.Nodes, c.Interfaces[0].Name, c.Membership.Keys = 2, c.Nodes[1:], "ens3", []string{"secret"}
			c.Membership.Partition, c.Membership.Witness = Available, c.Interfaces[1].Addresses[0]
		}},
	} {
		c := described()
		tt.change(c)
		changed, _ := c.Settings()
		for i, digest := range changed {
			if differs := digest != plain[i]; differs != (names[i] == tt.differs && tt.differs != "") {
				t.Errorf("with another %q, setting %q differs: %t", tt.differs, names[i], differs)
			}
			if (digest == 0) != (names[i] == "") {
				t.Errorf("setting %q has the digest %d", names[i], digest)
			}
		}
	}
}

func TestGoesAlone(t *testing.T) {
	for _, tt := range []struct {
		p      Partition
		voters int
		want   bool
	}{
		{PartitionDefault, 1, true}, {PartitionDefault, 2, true}, {PartitionDefault, 3, false},
		{Available, 5, true}, {Majority, 2, false},
	} {
		if got := tt.p.GoesAlone(tt.voters); got != tt.want {
			t.Errorf("%s with %d voters: %t", tt.p, tt.voters, got)
		}
	}
}
