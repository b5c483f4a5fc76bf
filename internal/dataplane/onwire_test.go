//go:build privileged

package dataplane

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/shoal-net/shoal/internal/cluster"
)

// Packet types of linux/if_packet.h.
const (
	typeHost      = 0
	typeBroadcast = 1
	typeMulticast = 2
	typeOther     = 3
)

// typeProbe counts the packets that reach the stack, by packet type.
func typeProbe(t *testing.T, ifindex int) *ebpf.Map {
	t.Helper()
	types := newMap(t, &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 8})
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 4, asm.Word), // pkt_type
		asm.StoreMem(asm.RFP, -4, asm.R2, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, types.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, -1).WithSymbol("out"),
		asm.Return(),
	}})
	must(t, err)
	t.Cleanup(func() { prog.Close() })
	l, err := link.AttachTCX(link.TCXOptions{Program: prog, Interface: ifindex, Attach: ebpf.AttachTCXIngress, Anchor: link.Tail()})
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return types
}

func typesSeen(t *testing.T, types *ebpf.Map) [4]uint64 {
	t.Helper()
	var seen [4]uint64
	for i := range seen {
		must(t, types.Lookup(uint32(i), &seen[i]))
	}
	return seen
}

// attachRig puts a rig's programs on the wire as Plane.Attach would.
func attachRig(t testing.TB, r *rig, mode cluster.Attach, ifindex int) {
	t.Helper()
	add := func(h hook, prog *ebpf.Program) {
		l, err := h.attach(ifindex, prog)
		must(t, err)
		t.Cleanup(func() { l.Close() })
	}
	add(egressHook, r.programs[inEgress])
	if mode == cluster.AttachTCX {
		add(ingressHooks[mode], r.programs[inTCX])
		return
	}
	add(ingressHooks[mode], r.programs[inXDP])
	c, ifc := r.setup.cluster()
	maps := map[string]*ebpf.Map{"counters": newMap(t, &ebpf.MapSpec{Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: uint32(len(Counters{}))})}
	prog, err := typeLoader.loadProgram(c, ifc, maps)
	must(t, err)
	t.Cleanup(func() { prog.Close() })
	add(typeHook, prog)
}

func ingressKind(mode cluster.Attach) kind {
	if mode == cluster.AttachTCX {
		return inTCX
	}
	return inXDP
}

var modes = []cluster.Attach{cluster.AttachNative, cluster.AttachGeneric, cluster.AttachTCX}

// TestTableOnWire sends the rows of the tables through a real interface, in
// every mode: truncated and long frames and tags are only there what they are.
func TestTableOnWire(t *testing.T) {
	groups := make(map[setup][]row)
	for _, r := range slices.Concat(flowRows(), fragmentRows(), errorRows(), otherRows(), malformedRows(),
		arpRows(), ndRows(), heartbeatRows(), shortRows()) {
		groups[r.with] = append(groups[r.with], r)
	}
	for _, mode := range modes {
		for s, rows := range groups {
			t.Run(mode.String()+" "+s.String(), func(t *testing.T) {
				enterNamespace(t)
				w, r := newWire(t, 9000), newRig(t, s)
				attachRig(t, r, mode, w.host.Attrs().Index)
				types := typeProbe(t, w.host.Attrs().Index)
				for _, row := range rows {
					r.share(r.bucket(row.key), Owned, Foreign, goodLease)
					checkOnWire(t, w, r, mode, types, row.name, row.frame, row.want)
					if row.foreign != "" {
						r.share(r.bucket(row.key), Foreign, Owned, goodLease)
						checkOnWire(t, w, r, mode, types, row.name, row.frame, row.foreign)
					}
				}
			})
		}
	}
}

// shortRows are cut off within the IP header.
func shortRows() []row {
	var rows []row
	for _, f := range families {
		whole := eth(toCluster, ip(f.client, f.vip, udp(4000, 53)))
		for n := 14; n < 56; n++ {
			rows = append(rows, row{name: f.name + " short", frame: whole[:n], want: malformed})
		}
	}
	return rows
}

func checkOnWire(t *testing.T, w *wire, r *rig, mode cluster.Attach, types *ebpf.Map, name string, frame []byte, want string) {
	t.Helper()
	k := ingressKind(mode)
	before, seen := r.count(t, k), typesSeen(t, types)
	w.send(frame)
	for deadline := time.Now().Add(5 * time.Second); ; {
		got := moved(before, r.count(t, k))
		if got == want && passedAs(seen, typesSeen(t, types), wantType(frame, want)) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: counted %q, want %q; types were %v, are %v, want one more of %d\n% x",
				name, got, want, seen, typesSeen(t, types), wantType(frame, want), frame)
		}
	}
}

// wantType is the packet type that the stack is to see; -1: no packet.
func wantType(frame []byte, counted string) int {
	dst := cluster.MAC(frame[:6])
	switch {
	case !goesOn(counted):
		return -1
	case counted == "pass_vlan":
		return -2 // no VLAN device: what becomes of it is the kernel's affair
	case dst == broadcast:
		return typeBroadcast
	case dst == ownMAC:
		return typeHost
	case dst[0]&1 != 0 && dst != igmpMAC:
		return typeMulticast
	case strings.HasSuffix(counted, "pass_other"), counted == "pass_multicast":
		return typeOther
	}
	return typeHost
}

func passedAs(before, after [4]uint64, want int) bool {
	for i := range before {
		n := after[i] - before[i]
		if want != -2 && (i == want) != (n == 1) {
			return false
		}
	}
	return true
}

// igmpMAC is a cluster MAC that is a multicast one.
var igmpMAC = cluster.MAC{0x01, 0, 0x5e, 0x7f, 2, 10}

// A frame to a multicast MAC is one for this host when its bucket is.
func TestMulticastMACOnWire(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			enterNamespace(t)
			w, r := newWire(t, 1500), newRig(t, setup{mac: igmpMAC})
			attachRig(t, r, mode, w.host.Attrs().Index)
			types := typeProbe(t, w.host.Attrs().Index)
			for _, f := range families {
				frame := eth(igmpMAC, ip(f.client, f.vip, udp(4000, 53)))
				r.share(r.bucket(by(f.client)), Owned, Foreign, goodLease)
				checkOnWire(t, w, r, mode, types, f.name, frame, "handle_owned")
				r.share(r.bucket(by(f.client)), Foreign, Owned, goodLease)
				checkOnWire(t, w, r, mode, types, f.name, frame, "drop_foreign")
			}
		})
	}
}

// The kernel's own answers for the cluster addresses carry the cluster MAC,
// from the own one, and nothing answers without a lease.
func TestAnswersOnWire(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			enterNamespace(t)
			w, r := newWire(t, 1500), newRig(t, setup{})
			attachRig(t, r, mode, w.host.Attrs().Index)
			r.share(-1, Foreign, Owned, goodLease)
			vipGroup, vipGroupMAC := group(vip6)
			for _, dst := range []cluster.MAC{broadcast, toCluster} {
				w.send(eth(dst, arp(request, clientMAC, client4, noMAC, vip4)))
				checkARPReply(t, w.frame("an ARP reply", func(p gopacket.Packet) bool {
					a, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP)
					return ok && a.Operation == reply
				}))
			}
			for dst, to := range map[cluster.MAC]netip.Addr{vipGroupMAC: vipGroup, toCluster: vip6} {
				w.send(eth(dst, ipv6(client6, to, solicit(vip6, sourceMAC(clientMAC)), ttl(255))))
				checkAdvertisement(t, w.frame("an advertisement", func(p gopacket.Packet) bool {
					return p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement) != nil
				}))
			}
			checkSilence(t, w, r)
		})
	}
}

func checkARPReply(t *testing.T, p gopacket.Packet) {
	t.Helper()
	a := p.Layer(layers.LayerTypeARP).(*layers.ARP)
	from := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet).SrcMAC
	if cluster.MAC(a.SourceHwAddress) != toCluster || cluster.MAC(from) != ownMAC {
		t.Errorf("answered %s from %s", cluster.MAC(a.SourceHwAddress), from)
	}
}

func checkAdvertisement(t *testing.T, p gopacket.Packet) {
	t.Helper()
	na := p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement)
	from := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet).SrcMAC
	for _, o := range na.Options { // there may be none where the solicitation was a probe (RFC 4861, 7.2.4)
		if o.Type != layers.ICMPv6OptTargetAddress || cluster.MAC(o.Data) != toCluster {
			t.Errorf("advertised %v", na.Options)
		}
	}
	if cluster.MAC(from) != ownMAC {
		t.Errorf("advertised from %s", from)
	}
	checkICMP6(t, "advertisement", p.Data())
}

// checkSilence takes the lease away while the host has something to say.
func checkSilence(t *testing.T, w *wire, r *rig) {
	t.Helper()
	for _, f := range families {
		r.share(-1, Foreign, Owned, inForce{5, 5, 0})
		before := r.count(t, inEgress)
		w.send(eth(ownMAC, ip(f.client, f.vip, tcp(4000, 81, syn)))) // past ingress; the reset is from the cluster address
		for deadline := time.Now().Add(5 * time.Second); ; {
			got := moved(before, r.count(t, inEgress))
			if strings.Contains(got, "drop_sent_no_lease") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: counted %q", f.name, got)
			}
		}
	}
}
