package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/match"
)

const (
	// udpKept is how long after its last packet the old owner of a bucket keeps a
	// UDP flow, more than the two minutes that a translator must (RFC 4787,
	// REQ-5). In gateways connection tracking decides.
	udpKept = 180 * time.Second
	// udpMargin is how long after that the new owner leaves the flow alone.
	// UDP_MARGIN of bpf/udp.h.
	udpMargin = 2 * time.Second

	// maxUDPFlows is how many flows are known, each in 112 bytes: as many as
	// connection tracking takes by default where there are 4 GB of memory and
	// more. The ones that were silent for longest give way to others.
	maxUDPFlows = 262144

	protoUDP = 17
)

// UDPFlow is a UDP flow, from its client's end.
type UDPFlow struct {
	Client, Server netip.AddrPort
}

// FrozenFlow is a UDP flow that is left to an old owner of its bucket.
type FrozenFlow struct {
	UDPFlow
	Bucket int
}

// keepsUDP reports whether UDP flows stay with the old owner of a bucket, for
// as long as that is draining.
func keepsUDP(c *cluster.Cluster) bool {
	if c.Mode == cluster.Gateway {
		return c.Handover.Flows == cluster.FlowsConntrack
	}
	return c.Handover.UDP == cluster.UDPKeep
}

// udpTimeout is udpKept, or what connection tracking in this network namespace
// takes where that is longer.
func udpTimeout(c *cluster.Cluster) time.Duration {
	// 120 s unless somebody says otherwise. Without connection tracking there is no file.
	text, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream")
	seconds, parseErr := strconv.Atoi(strings.TrimSpace(string(text)))
	if c.Mode != cluster.Gateway || err != nil || parseErr != nil {
		return udpKept
	}
	return max(udpKept, time.Duration(seconds)*time.Second)
}

// notesUDP reports whether the programs note them.
func notesUDP(c *cluster.Cluster) bool { return c.Mode == cluster.Backend && keepsUDP(c) }

// UDPFlows calls each for the UDP flows of this host that it would keep, with
// their buckets and for how long they have been silent. They are known in mode
// backend with `udp: keep`; otherwise there are none. Flows that come or go
// meanwhile may be left out.
func (p *Plane) UDPFlows(each func(f UDPFlow, bucket int, silent time.Duration)) error {
	now := Now()
	return eachFlow(p.maps["udp_flows"], func(f UDPFlow, seen uint64) {
		if silent := max(now-time.Duration(seen), 0); silent <= udpKept {
			each(f, p.bucket(f), silent)
		}
	})
}

// bucket returns the bucket of a flow. Its packets' fragments may be in another
// one: they have no ports.
func (p *Plane) bucket(f UDPFlow) int {
	return p.cluster.Hash.Bucket(match.Flow{Client: f.Client.Addr(), ClientPort: f.Client.Port(),
		Server: f.Server.Addr(), ServerPort: f.Server.Port(), Protocol: protoUDP})
}

// ForgetUDP forgets the flows of this host in buckets that others own now.
func (p *Plane) ForgetUDP(foreign func(bucket int) bool) error {
	return deleteFlows(p.maps["udp_flows"], func(f UDPFlow, _ uint64) bool { return foreign(p.bucket(f)) })
}

// Freeze leaves UDP flows to an old owner of their buckets. It ends for a flow when
// nothing came of it for longer than the old owner keeps it, counted from now, or
// with Thaw, or when the bucket is owned.
func (p *Plane) Freeze(owner uint8, flows []FrozenFlow) error {
	if len(flows) == 0 {
		return nil
	}
	until := Now() + udpTimeout(p.cluster) + udpMargin
	keys, values := make([]ingressXDPUdpFlow, len(flows)), make([]ingressXDPFrozenFlow, len(flows))
	for i, f := range flows {
		keys[i] = flowKey(f.UDPFlow)
		values[i] = ingressXDPFrozenFlow{Until: uint64(until), Bucket: uint32(f.Bucket), Owner: uint32(owner)}
	}
	if _, err := p.maps["frozen"].BatchUpdate(keys, values, nil); err != nil {
		return fmt.Errorf("leave %d UDP flows to their old owner: %w", len(flows), err)
	}
	return nil
}

// Thaw ends what Freeze began, for the flows that keep says no to. Those whose
// time is over it forgets in any case.
func (p *Plane) Thaw(keep func(f FrozenFlow, owner uint8) bool) error {
	now := uint64(Now())
	return deleteFlows(p.maps["frozen"], func(f UDPFlow, v ingressXDPFrozenFlow) bool {
		return v.Until <= now || !keep(FrozenFlow{f, int(v.Bucket)}, uint8(v.Owner))
	})
}

// deleteFlows deletes entries of a map of flows.
func deleteFlows[V any](m *ebpf.Map, which func(UDPFlow, V) bool) error {
	var doomed []UDPFlow
	if err := eachFlow(m, func(f UDPFlow, v V) {
		if which(f, v) {
			doomed = append(doomed, f)
		}
	}); err != nil {
		return err
	}
	for _, f := range doomed {
		if err := m.Delete(flowKey(f)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forget UDP flow %s: %w", f.Client, err)
		}
	}
	return nil
}

// batch is how many flows are read in one system call.
const batch = 4096

// eachFlow calls each for the entries of a map of flows.
func eachFlow[V any](m *ebpf.Map, each func(UDPFlow, V)) error {
	var (
		cursor ebpf.MapBatchCursor
		keys   = make([]ingressXDPUdpFlow, min(batch, m.MaxEntries()))
		values = make([]V, len(keys))
	)
	for {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("read the UDP flows: %w", err)
		}
		for i := range n {
			each(flowOf(keys[i]), values[i])
		}
		if err != nil {
			return nil // that was all
		}
	}
}

func flowKey(f UDPFlow) (key ingressXDPUdpFlow) {
	key.Client.Words, key.ClientPort = words(f.Client)
	key.Server.Words, key.ServerPort = words(f.Server)
	return key
}

func flowOf(key ingressXDPUdpFlow) UDPFlow {
	return UDPFlow{end(key.Client.Words, key.ClientPort), end(key.Server.Words, key.ServerPort)}
}

// words returns what the programs have of an end, in network byte order.
func words(a netip.AddrPort) (w [4]uint32, port uint16) {
	b := a.Addr().As16()
	for i := range w {
		w[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return w, binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, a.Port()))
}

func end(w [4]uint32, port uint16) netip.AddrPort {
	var b [16]byte
	for i := range w {
		binary.NativeEndian.PutUint32(b[4*i:], w[i])
	}
	return netip.AddrPortFrom(netip.AddrFrom16(b).Unmap(), binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, port)))
}
