package dataplane

import (
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/shoal-net/shoal/internal/cluster"
)

// Interface is one interface of a cluster and what the host says of it.
type Interface struct {
	cluster.Interface
	Index    int
	OwnMAC   cluster.MAC
	Physical bool // has a driver of its own to run XDP in
	Bit      int  // this interface's number in the cluster, 0..cluster.MaxInterfaces-1
}

// loader reads the specification of one object file.
type loader struct {
	load    func() (*ebpf.CollectionSpec, error)
	program string
}

var (
	xdpLoader    = loader{loadIngressXDP, "shoal_xdp"}
	tcxLoader    = loader{loadIngressTCX, "shoal_tcx"}
	typeLoader   = loader{loadPacketType, "shoal_type"}
	egressLoader = loader{loadEgress, "shoal_egress"}
)

// specify returns the specification of an object with the constants of one
// interface and the map sizes of the cluster in it.
func (l loader) specify(c *cluster.Cluster, ifc Interface) (*ebpf.CollectionSpec, error) {
	spec, err := l.load()
	if err != nil {
		return nil, err
	}
	sizeMaps(spec, c)
	for name, value := range constants(c, ifc) {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set constant %s: %w", name, err)
		}
	}
	return spec, nil
}

func sizeMaps(spec *ebpf.CollectionSpec, c *cluster.Cluster) {
	if m := spec.Maps["buckets"]; m != nil {
		m.MaxEntries = uint32(c.Hash.Buckets)
	}
	if m := spec.Maps["heartbeats"]; m != nil {
		m.MaxEntries = ringSize(len(c.Interfaces))
	}
	if m := spec.Maps["udp_flows"]; m != nil && notesUDP(c) {
		m.MaxEntries = maxUDPFlows
	}
	if m := spec.Maps["frozen"]; m != nil && keepsUDP(c) {
		m.MaxEntries = maxUDPFlows
	}
}

// ringSize is room for eight intervals of heartbeats from all nodes that there
// can be, on every interface; a power of two. It does not depend on how many
// nodes there are: they may become more while the ring is in use.
func ringSize(interfaces int) uint32 {
	const intervals, record = 8, recordHeader + unsafe.Sizeof(ingressXDPHeartbeat{})
	room := uint32(max(interfaces, 1)) * cluster.MaxNodes * intervals * uint32((record+7)&^7)
	return 1 << bits.Len32(room-1)
}

func constants(c *cluster.Cluster, ifc Interface) map[string]any {
	return map[string]any{
		"cluster_mac":        [6]byte(ifc.MAC),
		"own_mac":            [6]byte(ifc.OwnMAC),
		"hash_seed":          c.Hash.Seed,
		"bucket_count":       uint32(c.Hash.Buckets),
		"side":               uint8(ifc.Side),
		"affinity":           uint8(c.Hash.Affinity),
		"hash_key":           uint8(c.Hash.Key),
		"ipv6_first_word":    boolByte(c.Hash.IPv6FirstWord),
		"marking":            boolByte(c.Action.Marking),
		"mark_value":         c.Action.Mark.Value,
		"mark_mask":          c.Action.Mark.Mask,
		"foreign_mark_value": c.Action.ForeignMark.Value,
		"foreign_mark_mask":  c.Action.ForeignMark.Mask,
		"heartbeat_port":     heartbeatPort(c),
		"interface_bit":      uint32(1) << ifc.Bit,
		"flow_sources":       flowSources(c),
		"udp_keep":           boolByte(keepsUDP(c)),
		"udp_timeout":        uint64(udpTimeout(c)),
	}
}

// flowSources says what tells of the flows that this host has.
func flowSources(c *cluster.Cluster) uint32 {
	switch {
	case c.Mode == cluster.Backend:
		return uint32(ingressXDPFlowSourceSOCKETS | ingressXDPFlowSourceCONNTRACK)
	case c.Handover.Flows == cluster.FlowsConntrack:
		return uint32(ingressXDPFlowSourceCONNTRACK)
	}
	return 0
}

// heartbeatPort returns the port in network byte order. Where the description
// names no address that heartbeats could come from, no port is taken away.
func heartbeatPort(c *cluster.Cluster) [2]byte {
	for _, n := range c.Nodes {
		if len(n.Addresses) > 0 {
			return [2]byte{cluster.HeartbeatPort >> 8, cluster.HeartbeatPort & 0xff}
		}
	}
	return [2]byte{}
}

func boolByte(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// loadProgram loads one program that uses the given maps.
func (l loader) loadProgram(c *cluster.Cluster, ifc Interface, shared map[string]*ebpf.Map) (*ebpf.Program, error) {
	spec, err := l.specify(c, ifc)
	if err != nil {
		return nil, err
	}
	replacements := maps.Clone(shared)
	maps.DeleteFunc(replacements, func(name string, _ *ebpf.Map) bool { return spec.Maps[name] == nil })
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replacements})
	if err != nil {
		var verifier *ebpf.VerifierError
		if errors.As(err, &verifier) {
			return nil, fmt.Errorf("load %s: %+v", l.program, verifier)
		}
		return nil, fmt.Errorf("load %s: %w", l.program, err)
	}
	defer coll.Close()
	return coll.DetachProgram(l.program), nil
}
