package heartbeat

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/member"
)

func TestMemberConfig(t *testing.T) {
	c := &cluster.Cluster{
		Name: "web", Self: 2, Lease: time.Second,
		Nodes: []cluster.Node{
			{ID: 2, Name: "beta", Weight: 250, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.2")}},
			{ID: 64, Name: "last", Weight: 100},
		},
		Interfaces: []cluster.Interface{{Name: "eth1"}, {Name: "eth2"}},
		Hash:       cluster.Hash{Buckets: 64},
		Membership: cluster.Membership{Heartbeat: 20 * time.Millisecond, Interfaces: []string{"eth3"}},
	}
	settings, _ := c.Settings()
	want := member.Config{
		Self: 2, Listed: 1<<1 | 1<<63, Weight: 250, Interval: 20 * time.Millisecond, Lease: time.Second, Buckets: 64,
		Interfaces: []string{"eth1", "eth2", "eth3"}, Cluster: 0b011, Settings: settings, Available: true, KeepIll: true,
	}
	want.Names[2], want.Names[64] = "beta", "last"
	if diff := cmp.Diff(want, MemberConfig(c)); diff != "" {
		t.Error(diff)
	}
	c.Nodes[0].VoterOnly = true
	c.Membership.Partition = cluster.Majority
	c.Health.AllUnhealthy = cluster.UnhealthyDrop
	if got := MemberConfig(c); got.Weight != 0 || got.Available || got.KeepIll {
		t.Errorf("a voter with partition: majority: %+v", got)
	}
	c.Handover = cluster.Handover{Drain: time.Hour}
	if got := MemberConfig(c); !got.Keep || got.HoldUDP {
		t.Errorf("TCP stays where it is: %+v", got)
	}
	c.Handover.UDP = cluster.UDPKeep
	if got := MemberConfig(c); !got.Keep || !got.HoldUDP {
		t.Errorf("UDP is to stay, too: %+v", got)
	}
	c.Handover.Drain = 0
	if got := MemberConfig(c); got.Keep || got.HoldUDP {
		t.Errorf("drain: 0: %+v", got)
	}
	if paths, names := makePaths(c); len(paths) != 3 || paths[2].ifc != nil || paths[1].ifc.Name != "eth2" || names[2] != "eth3" {
		t.Errorf("paths %+v, %v", paths, names)
	}
}
