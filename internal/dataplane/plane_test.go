//go:build privileged

package dataplane

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// newDir is a pin directory in a BPF file system of the test's own, which must
// be empty again at the end.
func newDir(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "bpf")
	must(t, MountFS(root))
	must(t, MountFS(root)) // it is one: nothing to do
	t.Cleanup(func() {
		for _, name := range []string{"test", "rival"} {
			if err := Remove(filepath.Join(root, name)); err != nil {
				t.Error(err)
			}
		}
		err := UnmountFS(root)
		if _, left := os.Stat(root); !errors.Is(left, fs.ErrNotExist) {
			t.Errorf("%s is left: %v, %v", root, left, err)
			must(t, unix.Unmount(root, unix.MNT_DETACH)) // the pins go with it
		}
	})
	return filepath.Join(root, "test")
}

// newLink makes a cable, and describes its near end as an interface.
func newLink(t *testing.T, name string, mtu int) Interface {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, mtu
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name + "-far", PeerMTU: uint32(mtu)}))
	l, err := netlink.LinkByName(name)
	must(t, err)
	must(t, netlink.LinkSetUp(l))
	return Interface{
		Interface: cluster.Interface{Name: name, Addresses: []netip.Addr{vip4, vip6}, MAC: toCluster},
		Index:     l.Attrs().Index,
		OwnMAC:    cluster.MAC(l.Attrs().HardwareAddr),
	}
}

func testCluster() *cluster.Cluster {
	c, _ := setup{heartbeats: true}.cluster()
	return c
}

func open(t *testing.T, dir string, c *cluster.Cluster) *Plane {
	t.Helper()
	p, err := Open(dir, c)
	must(t, err)
	t.Cleanup(func() { p.lock.Close() }) // where the test ends early
	return p
}

func (i Interface) with(a cluster.Attach) Interface {
	i.Attach = a
	return i
}

// attached says what sits on an interface: ID and mode of XDP, and how many
// TCX programs in and out.
type attached struct {
	XDP     string
	In, Out int
}

func whatSits(t *testing.T, ifc Interface) attached {
	t.Helper()
	l, err := netlink.LinkByIndex(ifc.Index)
	must(t, err)
	var a attached
	if x := l.Attrs().Xdp; x != nil && x.Attached {
		a.XDP = map[uint32]string{1: "native", 2: "generic", 4: "multi"}[x.AttachMode]
	}
	for at, n := range map[ebpf.AttachType]*int{ebpf.AttachTCXIngress: &a.In, ebpf.AttachTCXEgress: &a.Out} {
		q, err := link.QueryPrograms(link.QueryOptions{Target: ifc.Index, Attach: at})
		must(t, err)
		*n = len(q.Programs)
	}
	return a
}

var sits = map[cluster.Attach]attached{
	cluster.AttachNative:  {"native", 1, 1},
	cluster.AttachGeneric: {"generic", 1, 1},
	cluster.AttachTCX:     {"", 1, 1},
}

func attach(t *testing.T, p *Plane, ifc Interface, want cluster.Attach) {
	t.Helper()
	mode, fallback, err := p.Attach(ifc)
	if err != nil || fallback != nil || mode != want {
		t.Fatalf("attach: %v, %v, %v; want %v", mode, fallback, err, want)
	}
	if diff := cmp.Diff(sits[want], whatSits(t, ifc)); diff != "" {
		t.Errorf("on the interface (-want +got):\n%s", diff)
	}
}

func TestPlaneCycle(t *testing.T) {
	enterNamespace(t)
	dir := newDir(t)
	one, two := newLink(t, "one", 1500), newLink(t, "eth0.5", 1500)
	two.Bit = 1
	c := testCluster()

	p := open(t, dir, c)
	if p.Adopted() {
		t.Error("adopted what was not there")
	}
	if _, err := Open(dir, c); !errors.Is(err, ErrLocked) {
		t.Errorf("second Open: %v", err)
	}
	if err := Remove(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("Remove beside a running process: %v", err)
	}
	attach(t, p, one.with(cluster.AttachNative), cluster.AttachNative)
	attach(t, p, two.with(cluster.AttachAuto), cluster.AttachTCX)
	must(t, p.Close())

	p = open(t, dir, c)
	if !p.Adopted() {
		t.Error("not adopted")
	}
	must(t, removePins(p.interfaceDir("eth0.5")))
	must(t, removePins(p.interfaceDir("eth0.5")))
	if got := whatSits(t, two); got != (attached{}) {
		t.Errorf("left behind by Detach: %+v", got)
	}
	attach(t, p, two.with(cluster.AttachGeneric), cluster.AttachGeneric)
	must(t, p.DetachOthers([]string{"one"}))
	if got := whatSits(t, two); got != (attached{}) {
		t.Errorf("left behind by DetachOthers: %+v", got)
	}
	attach(t, p, two.with(cluster.AttachTCX), cluster.AttachTCX)
	must(t, p.Remove())
	for _, ifc := range []Interface{one, two} {
		if got := whatSits(t, ifc); got != (attached{}) {
			t.Errorf("left behind on %s: %+v", ifc.Name, got)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", dir, err)
	}
	must(t, Remove(dir)) // nothing there: nothing to do
	if _, err := Inspect(dir); !errors.Is(err, ErrNotPinned) {
		t.Errorf("Inspect of nothing: %v", err)
	}
}

// What a killed process left is removed from outside.
func TestRemoveAfterKill(t *testing.T) {
	enterNamespace(t)
	dir, ifc := newDir(t), newLink(t, "one", 1500)
	p := open(t, dir, testCluster())
	attach(t, p, ifc.with(cluster.AttachNative), cluster.AttachNative)
	must(t, p.lock.Close()) // as the kernel does
	must(t, Remove(dir))
	if got := whatSits(t, ifc); got != (attached{}) {
		t.Errorf("left behind: %+v", got)
	}
}

func linkInfo(t *testing.T, dir, pin string) *link.Info {
	t.Helper()
	info, err := pinnedLink(filepath.Join(dir, pin))
	must(t, err)
	if info == nil {
		t.Fatalf("%s is not pinned", pin)
	}
	return info
}

func TestAdoption(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			enterNamespace(t)
			dir, w := newDir(t), newWire(t, 1500)
			ifc := Interface{Interface: cluster.Interface{Name: "host", Addresses: []netip.Addr{vip4, vip6}, MAC: toCluster, Attach: mode},
				Index: w.host.Attrs().Index, OwnMAC: ownMAC}
			p := open(t, dir, testCluster())
			attach(t, p, ifc, mode)
			p.SetTable(7, allOwned())
			p.SetLease(7, Now()+time.Hour)
			w.send(eth(toCluster, ipv4(client4, vip4, udp(4000, 53))))
			awaitCounters(t, dir, map[string]uint64{"handle_owned": 1})
			pins := []string{"egress", ingressHooks[mode].pin}
			var before []*link.Info
			for _, pin := range pins {
				before = append(before, linkInfo(t, filepath.Join(dir, "host"), pin))
			}
			must(t, p.Close())
			w.send(eth(toCluster, ipv4(client4, vip4, udp(4000, 53)))) // nobody there: the lease counts
			awaitCounters(t, dir, map[string]uint64{"handle_owned": 2})

			p = open(t, dir, testCluster())
			defer p.Close()
			if p.Epoch() != 7 {
				t.Errorf("epoch %d", p.Epoch())
			}
			w.send(eth(toCluster, ipv4(client4, vip4, udp(4000, 53))))
			awaitCounters(t, dir, map[string]uint64{"handle_owned": 2, "drop_no_lease": 1})
			attach(t, p, ifc, mode)
			for i, pin := range pins {
				now := linkInfo(t, filepath.Join(dir, "host"), pin)
				if now.ID != before[i].ID || now.Program == before[i].Program {
					t.Errorf("%s: link %d → %d, program %d → %d", pin, before[i].ID, now.ID, before[i].Program, now.Program)
				}
			}
			p.SetLease(7, Now()+time.Hour)
			w.send(eth(toCluster, ipv4(client4, vip4, udp(4000, 53))))
			awaitCounters(t, dir, map[string]uint64{"handle_owned": 3, "drop_no_lease": 1})
		})
	}
}

func allOwned() []State {
	states := make([]State, cluster.DefaultBuckets)
	for i := range states {
		states[i] = Owned
	}
	return states
}

// awaitCounters waits until the ingress counters of interface "host" are as given.
func awaitCounters(t *testing.T, dir string, want map[string]uint64) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; {
		s, err := Inspect(dir)
		must(t, err)
		got := s.Interfaces["host"].Counters.ByName()
		for name := range got {
			if strings.HasPrefix(name, "sent_") || strings.HasPrefix(name, "drop_sent_") || name == "type_host" {
				delete(got, name)
			}
		}
		diff := cmp.Diff(want, got)
		if diff == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("counters (-want +got):\n%s", diff)
		}
	}
}

// What is pinned by another version is refused before anything is changed.
func TestOtherVersion(t *testing.T) {
	enterNamespace(t)
	dir := newDir(t)
	p := open(t, dir, testCluster())
	p.control.shared.AbiVersion = abiVersion + 1
	p.SetLease(3, Now()+time.Hour)
	deadline := p.control.shared.LeaseDeadline
	id := mapID(t, dir, "buckets")
	must(t, p.Close())
	other := testCluster()
	other.Hash.Buckets = 77
	if _, err := Open(dir, other); !errors.Is(err, ErrOtherVersion) {
		t.Fatalf("Open: %v", err)
	}
	if now := mapID(t, dir, "buckets"); now != id {
		t.Errorf("buckets: map %d → %d", id, now)
	}
	s, err := Inspect(dir)
	must(t, err)
	if left := time.Duration(deadline) - Now() - s.Lease; left > time.Second || left < -time.Second {
		t.Errorf("the lease was touched: %s left", s.Lease)
	}
}

func TestOtherSize(t *testing.T) {
	enterNamespace(t)
	dir := newDir(t)
	must(t, os.MkdirAll(dir, 0o700))
	m := newMap(t, &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 64, MaxEntries: 1})
	must(t, m.Pin(filepath.Join(dir, "shared")))
	if _, err := Open(dir, testCluster()); !errors.Is(err, ErrOtherVersion) {
		t.Errorf("Open: %v", err)
	}
	if _, err := Inspect(dir); !errors.Is(err, ErrOtherVersion) {
		t.Errorf("Inspect: %v", err)
	}
}

func mapID(t *testing.T, dir, pin string) ebpf.MapID {
	t.Helper()
	m, err := ebpf.LoadPinnedMap(filepath.Join(dir, pin), nil)
	must(t, err)
	defer m.Close()
	info, err := m.Info()
	must(t, err)
	id, _ := info.ID()
	return id
}

// Another number of buckets takes counters of that size; the rest is adopted.
func TestOtherBuckets(t *testing.T) {
	enterNamespace(t)
	dir, ifc := newDir(t), newLink(t, "one", 1500)
	c := testCluster()
	p := open(t, dir, c)
	attach(t, p, ifc.with(cluster.AttachTCX), cluster.AttachTCX)
	must(t, p.Close())
	c.Hash.Buckets = 3
	p = open(t, dir, c)
	defer p.Close()
	attach(t, p, ifc.with(cluster.AttachTCX), cluster.AttachTCX)
	p.SetTable(1, []State{Owned, Foreign, Draining})
	s, err := Inspect(dir)
	must(t, err)
	if diff := cmp.Diff([]State{Owned, Foreign, Draining}, s.States); diff != "" || len(s.BucketPackets) != 3 || !p.Adopted() {
		t.Errorf("adopted %t, %d bucket counters, states (-want +got):\n%s", p.Adopted(), len(s.BucketPackets), diff)
	}
}

// Addresses and peers that are gone from the description are gone from the maps.
func TestAdoptionOfOtherAddresses(t *testing.T) {
	enterNamespace(t)
	dir, c := newDir(t), testCluster()
	p := open(t, dir, c)
	must(t, p.Close())
	c.Interfaces[0].Addresses = []netip.Addr{addr("192.0.2.11")}
	c.Nodes[0].Addresses = []netip.Addr{addr("192.0.2.3")}
	p = open(t, dir, c)
	defer p.Close()
	for name, want := range map[string]map[netip.Addr]uint32{
		"addresses": {addr("192.0.2.11"): 1, other4: 2, other6: 2},
		"peers":     {addr("192.0.2.3"): peerID},
	} {
		got := make(map[netip.Addr]uint32)
		var k [16]byte
		var v uint32
		for it := p.maps[name].Iterate(); it.Next(&k, &v); {
			got[netip.AddrFrom16(k).Unmap()] = v
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What is known of UDP flows is adopted, unless it has no use any more.
func TestAdoptionOfUDPFlows(t *testing.T) {
	enterNamespace(t)
	dir, c := newDir(t), testCluster()
	c.Handover = keepUDP
	p := open(t, dir, c)
	must(t, p.maps["udp_flows"].Put(flowKey(kept(families[0], 4001)), uint64(Now())))
	must(t, p.Freeze(1, []FrozenFlow{{UDPFlow: kept(families[1], 4001)}}))
	must(t, p.Close())
	count := func() (noted, frozen int) {
		must(t, p.UDPFlows(func(UDPFlow, int, time.Duration) { noted++ }))
		must(t, p.Thaw(func(FrozenFlow, uint8) bool { frozen++; return true }))
		return noted, frozen
	}
	p = open(t, dir, c)
	if noted, frozen := count(); noted != 1 || frozen != 1 {
		t.Errorf("adopted %d flows and %d frozen ones", noted, frozen)
	}
	must(t, p.Close())
	c.Handover = cluster.Handover{}
	p = open(t, dir, c)
	defer p.Close()
	if noted, frozen := count(); noted != 0 || frozen != 0 {
		t.Errorf("adopted %d flows and %d frozen ones without a use for them", noted, frozen)
	}
}
