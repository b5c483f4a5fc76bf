package cluster

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
)

// MaxSettings is how many settings Settings can tell apart.
const MaxSettings = 16

// setting is a part of the description in which nodes must not differ.
type setting struct {
	name  string // as the configuration file has it
	value func(*Cluster) any
}

// settings only ever grows at its end: its order is part of the protocol. What
// may be changed by reloading one node after the other is not in it, nor what
// may be different on each host, such as the names of interfaces.
var settings = []setting{
	{"mode", func(c *Cluster) any { return c.Mode }},
	{"hash.seed", func(c *Cluster) any { return c.Hash.Seed }},
	{"hash.buckets", func(c *Cluster) any { return c.Hash.Buckets }},
	{"hash.affinity", func(c *Cluster) any { return c.Hash.Affinity }},
	{"hash.ipv6", func(c *Cluster) any { return c.Hash.IPv6FirstWord }},
	{"hash.key", func(c *Cluster) any { return c.Hash.Key }},
	{"interfaces: side", each(func(i Interface) any { return i.Side })},
	{"interfaces: mac", each(func(i Interface) any { return i.MAC })},
	{"interfaces: addresses", each(func(i Interface) any { return i.Addresses })},
	{"heartbeat-interfaces", func(c *Cluster) any { return len(c.Membership.Interfaces) }},
	{"lease", func(c *Cluster) any { return c.Lease }},
	{"heartbeat", func(c *Cluster) any { return c.Membership.Heartbeat }},
	{"udp", func(c *Cluster) any { return c.Handover.UDP }},
	{"flows", func(c *Cluster) any { return c.Handover.Flows }},
	{"drain", func(c *Cluster) any { return c.Handover.Drain }},
	{"all-unhealthy", func(c *Cluster) any { return c.Health.AllUnhealthy }},
}

// each is something of every interface, in their order: it is by their order
// that interfaces of different hosts belong together.
func each(of func(Interface) any) func(*Cluster) any {
	return func(c *Cluster) any {
		var all []string
		for _, i := range c.Interfaces {
			all = append(all, fmt.Sprint(of(i)))
		}
		return strings.Join(all, ";")
	}
}

// Settings returns a digest, never 0, of each setting in which the nodes of a
// cluster must not differ, and the settings' names. The rest of both is empty.
func (c *Cluster) Settings() (digests [MaxSettings]uint32, names [MaxSettings]string) {
	for i, s := range settings {
		names[i] = s.name
		sum := sha256.Sum256([]byte(fmt.Sprint(s.value(c))))
		digests[i] = max(1, binary.BigEndian.Uint32(sum[:]))
	}
	return digests, names
}
