//go:build privileged

package dataplane

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/shoal-net/shoal/internal/cluster"
)

func TestConflicts(t *testing.T) {
	enterNamespace(t)
	dir, w := newDir(t), newWire(t, 1500)
	p := open(t, dir, testCluster())
	defer p.Close()
	attach(t, p, Interface{Interface: cluster.Interface{Name: "host", MAC: toCluster}, Index: w.host.Attrs().Index, OwnMAC: ownMAC}, cluster.AttachTCX)
	if n, err := p.Conflicts("host"); n != 0 || err != nil {
		t.Errorf("%d conflicts, %v", n, err)
	}
	w.send(ethFrom(peerMAC, broadcast, arp(request, peerMAC, vip4, noMAC, vip4)))
	awaitCounters(t, dir, map[string]uint64{"drop_arp_cluster": 1, "alarm_conflict": 1})
	if n, err := p.Conflicts("host"); n != 1 || err != nil {
		t.Errorf("%d conflicts, %v", n, err)
	}
	if _, err := p.Conflicts("nowhere"); err == nil {
		t.Error("conflicts of an interface that is not attached")
	}
}

func TestInspect(t *testing.T) {
	enterNamespace(t)
	dir, mine := newDir(t), twin{}.addressBucket(client4)
	w := newWire(t, 1500)
	p := open(t, dir, testCluster())
	defer p.Close()
	attach(t, p, Interface{Interface: cluster.Interface{Name: "host", MAC: toCluster}, Index: w.host.Attrs().Index, OwnMAC: ownMAC}, cluster.AttachTCX)
	s, err := Inspect(dir)
	must(t, err)
	if s.Lease > 0 || s.TableEpoch != 0 || len(s.States) != cluster.DefaultBuckets {
		t.Errorf("at first: lease %s, epoch %d, %d states", s.Lease, s.TableEpoch, len(s.States))
	}
	p.SetTable(3, allOwned())
	p.SetLease(2, Now()+time.Minute)
	for range 5 {
		w.send(eth(toCluster, ipv4(client4, vip4, udp(4000, 53))))
	}
	awaitCounters(t, dir, map[string]uint64{"handle_owned": 5})
	s, err = Inspect(dir)
	must(t, err)
	if s.Lease > time.Minute || s.Lease < 50*time.Second || s.LeaseEpoch != 2 || s.TableEpoch != 3 || s.States[9] != Owned {
		t.Errorf("lease %s, epoch %d; table %d, %v", s.Lease, s.LeaseEpoch, s.TableEpoch, s.States[9])
	}
	for bucket, n := range s.BucketPackets {
		want := uint64(0)
		if bucket == mine {
			want = 5
		}
		if n != want {
			t.Errorf("bucket %d: %d packets, want %d", bucket, n, want)
		}
	}
	if got := s.Interfaces["host"]; !got.Attached || got.Mode != cluster.AttachTCX {
		t.Errorf("%+v", got)
	}
}

// A new table is written beside the one in force, and put in force at once.
func TestDoubleBuffer(t *testing.T) {
	enterNamespace(t)
	dir := newDir(t)
	p := open(t, dir, testCluster())
	defer p.Close()
	shared := p.control.shared
	const tables = 4
	began := time.Now()
	for epoch := uint64(1); epoch <= tables; epoch++ {
		before := shared.Active
		inUse := shared.State[before]
		p.SetTable(epoch, []State{State(epoch % 4), Owned})
		if shared.Active == before || shared.TableEpoch[shared.Active] != epoch || shared.State[before] != inUse {
			t.Errorf("table %d: half %d → %d, epochs %v", epoch, before, shared.Active, shared.TableEpoch)
		}
		if got := shared.State[shared.Active]; got[0] != uint8(epoch%4) || got[1] != uint8(Owned) || got[2] != uint8(Foreign) {
			t.Errorf("table %d: %v", epoch, got[:3])
		}
	}
	// The first one is put in force after this began, the last one before now.
	if took := time.Since(began); took < (tables-1)*swapPause {
		t.Errorf("%d tables came within %s", tables, took)
	}
	p.SetLease(4, Now()+time.Second)
	p.SetLease(5, 0)
	if shared.LeaseDeadline != 0 || shared.LeaseEpoch != 5 {
		t.Errorf("lease %d, epoch %d", shared.LeaseDeadline, shared.LeaseEpoch)
	}
	p.SetLease(5, -time.Second)
	if shared.LeaseDeadline != 0 {
		t.Errorf("lease %d", shared.LeaseDeadline)
	}
}

// Buckets that old owners have left are taken where the table is, which does not
// change otherwise: nobody has them meanwhile.
func TestTableWithinAnEpoch(t *testing.T) {
	enterNamespace(t)
	dir := newDir(t)
	p := open(t, dir, testCluster())
	defer p.Close()
	c := openControl(t, dir)
	c.SetTable(1, []uint8{uint8(Owned), uint8(Draining)})
	c.SetTable(2, []uint8{uint8(Owned), uint8(Foreign), uint8(Draining), uint8(Owned)})
	shared := c.control.shared
	before := *shared
	c.SetTable(2, []uint8{uint8(Owned), uint8(Acquiring), uint8(Foreign)})
	in := before.Active
	if shared.Active != in || shared.TableEpoch != before.TableEpoch || shared.State[1-in] != before.State[1-in] {
		t.Errorf("half %d → %d, epochs %v → %v", in, shared.Active, before.TableEpoch, shared.TableEpoch)
	}
	if got, want := shared.State[in][:5], []uint8{uint8(Owned), uint8(Acquiring), 0, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestMissingFeatures(t *testing.T) {
	must(t, checkKernel(needed(&cluster.Cluster{})))
	must(t, checkKernel(needed(&cluster.Cluster{Hash: cluster.Hash{Key: cluster.KeyOriginal}})))
	err := checkKernel([]feature{
		{"wheels", "2.0", func() error { return nil }},
		{"wings", "9.9", func() error { return ebpf.ErrNotSupported }},
	})
	var missing *MissingFeatureError
	if !errors.As(err, &missing) || missing.Feature != "wings" || !errors.Is(err, ebpf.ErrNotSupported) {
		t.Fatalf("%v", err)
	}
	const want = "this kernel lacks wings, which Linux 9.9 and later have (shoal needs 6.6): not supported"
	if err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}
