package heartbeat

import (
	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/member"
)

// MemberConfig is the part of a cluster's description that the protocol needs.
func MemberConfig(c *cluster.Cluster) member.Config {
	cfg := member.Config{
		Self:      member.NodeID(c.Self),
		Interval:  c.Membership.Heartbeat,
		Lease:     c.Lease,
		Buckets:   c.Hash.Buckets,
		Available: c.Membership.Partition.GoesAlone(len(c.Nodes)),
		Keep:      c.KeepsFlows(),
		HoldUDP:   c.KeepsUDP(),
		KeepIll:   c.Health.AllUnhealthy == cluster.UnhealthyKeep,
	}
	for _, n := range c.Nodes {
		id := member.NodeID(n.ID)
		cfg.Listed = cfg.Listed.With(id)
		cfg.Names[id] = n.Name
		if n.ID == c.Self && !n.VoterOnly {
			cfg.Weight = uint16(n.Weight)
		}
	}
	for i, ifc := range c.Interfaces {
		cfg.Interfaces = append(cfg.Interfaces, ifc.Name)
		cfg.Cluster |= 1 << i
	}
	cfg.Interfaces = append(cfg.Interfaces, c.Membership.Interfaces...)
	digests, _ := c.Settings()
	cfg.Settings = digests
	return cfg
}
