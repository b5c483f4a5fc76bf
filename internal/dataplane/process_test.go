//go:build privileged

package dataplane

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/transport"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// segment is a bridge with two ports in the test's namespace: node 2 sends by
// "sender", this node has its data plane on "host".
type segment struct {
	host   Interface
	dir    string
	sender netlink.Link
}

func newSegment(t testing.TB, dir string) segment {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "bridge"
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
	bridge, err := netlink.LinkByName("bridge")
	must(t, err)
	must(t, netlink.LinkSetUp(bridge))
	port := func(name string) netlink.Link {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name + "-port"}))
		far, err := netlink.LinkByName(name + "-port")
		must(t, err)
		must(t, netlink.LinkSetMaster(far, bridge))
		l, err := netlink.LinkByName(name)
		must(t, err)
		must(t, errors.Join(netlink.LinkSetUp(far), netlink.LinkSetUp(l)))
		awaitSending(t, far)
		return l
	}
	s := segment{dir: dir, sender: port("sender")}
	l := port("host")
	s.host = Interface{Index: l.Attrs().Index, OwnMAC: cluster.MAC(l.Attrs().HardwareAddr),
		Interface: cluster.Interface{Name: "host", Addresses: []netip.Addr{vip4, vip6}, MAC: toCluster}}
	for _, own := range []string{"192.0.2.2/24", "fe80::2/64"} {
		prefix := netip.MustParsePrefix(own)
		must(t, netlink.AddrAdd(s.sender, &netlink.Addr{Flags: unix.IFA_F_NODAD,
			IPNet: &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}}))
	}
	return s
}

// newListening makes a segment in a namespace of its own, with the data plane of
// this node attached.
func newListening(t *testing.T, mode cluster.Attach) (segment, *Plane) {
	t.Helper()
	enterNamespace(t)
	s := newSegment(t, newDir(t))
	p := open(t, s.dir, testCluster())
	t.Cleanup(func() { must(t, p.Close()) })
	attach(t, p, s.host.with(mode), mode)
	return s, p
}

// awaitSending waits until a port of a bridge forwards: the kernel gets it
// ready a while after it has carrier.
func awaitSending(t testing.TB, port netlink.Link) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; {
		l, err := netlink.LinkByIndex(port.Attrs().Index)
		must(t, err)
		if l.Attrs().OperState == netlink.OperUp {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %s", port.Attrs().Name, l.Attrs().OperState)
		}
	}
}

func openControl(t testing.TB, dir string) *Control {
	t.Helper()
	c, err := OpenControl(dir, cluster.DefaultBuckets)
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	return c
}

// open opens what node 2 sends with, in the family of the cluster address.
func (s segment) open(t testing.TB, vip netip.Addr) *transport.Sender {
	t.Helper()
	sender, err := transport.OpenSender(cluster.Interface{Name: "sender", Addresses: []netip.Addr{vip}, MAC: toCluster}, []netip.Addr{peer4, peer6})
	must(t, err)
	t.Cleanup(func() { sender.Close() })
	return sender
}

// await polls as the heartbeat process does, and returns the next heartbeat.
func await(t testing.TB, c *Control) Heartbeat {
	t.Helper()
	for deadline := Now() + 5*time.Second; Now() < deadline; {
		if hb, ok := c.Next(); ok {
			return hb
		}
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(c.FD()), Events: unix.POLLIN}}, 5000); err != nil && !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
	}
	t.Fatal("no heartbeat")
	panic("unreachable")
}

// What a Sender sends comes out of the ring of another node's data plane, in
// every mode, whatever its length, and the poller is woken each time.
func TestHeartbeatFromSender(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			s, _ := newListening(t, mode)
			c := openControl(t, s.dir)
			for _, vip := range []netip.Addr{vip4, vip6} {
				sender := s.open(t, vip)
				for _, size := range []int{0, 1, 2, 3, 17, 18, 19, 500, transport.MaxPayload - 1, transport.MaxPayload} {
					payload, before := bytes.Repeat([]byte{byte(size), 0xff}, size/2+1)[:size], Now()
					must(t, sender.Send(payload))
					hb := await(t, c)
					got, ok := transport.Payload(hb.Frame)
					if !ok || !bytes.Equal(got, payload) {
						t.Errorf("%s, %d bytes: got %t, % x", vip, size, ok, got)
					}
					if hb.Node != peerID || hb.Ifindex != s.host.Index || hb.Received < before || hb.Received > Now() {
						t.Errorf("%s: node %d on %d at %s, sent at %s", vip, hb.Node, hb.Ifindex, hb.Received, before)
					}
				}
				if err := sender.Send(make([]byte, transport.MaxPayload+1)); !errors.Is(err, unix.EMSGSIZE) {
					t.Errorf("one byte more: %v", err)
				}
			}
			if hb, ok := c.Next(); ok {
				t.Errorf("another heartbeat: %+v", hb)
			}
		})
	}
}

// A poller that sleeps is woken by every heartbeat.
func TestHeartbeatWakes(t *testing.T) {
	s, _ := newListening(t, cluster.AttachTCX)
	c, sender, receiver := openControl(t, s.dir), s.open(t, vip4), unix.Gettid()
	for range 20 {
		sent := make(chan error, 1)
		go func() {
			awaitAsleep(receiver)
			sent <- sender.Send([]byte("wake up"))
		}()
		began := Now()
		if hb := await(t, c); Now()-began > 4*time.Second || hb.Node != peerID {
			t.Fatalf("node %d, found after %s", hb.Node, Now()-began)
		}
		must(t, <-sent)
	}
}

// awaitAsleep waits until a thread of this process sleeps in a system call, or
// for a second: it may have been too quick.
func awaitAsleep(thread int) {
	for deadline := Now() + time.Second; Now() < deadline; {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/stat", thread))
		if _, after, ok := bytes.Cut(stat, []byte(") ")); err == nil && ok && after[0] == 'S' {
			return
		}
	}
}

func TestHeartbeatNoGarbage(t *testing.T) {
	s, _ := newListening(t, cluster.AttachTCX)
	c, sender, payload := openControl(t, s.dir), s.open(t, vip4), make([]byte, 1000)
	table, epoch := make([]uint8, cluster.DefaultBuckets), uint64(0)
	poll := []unix.PollFd{{Fd: int32(c.FD()), Events: unix.POLLIN}}
	var failed error
	taken := 0
	allocs := testing.AllocsPerRun(200, func() {
		epoch++
		c.SetTable(epoch, table)
		c.SetLease(epoch, Now()+time.Second)
		failed = errors.Join(failed, sender.Send(payload))
		unix.Poll(poll, 5000)
		for hb, ok := c.Next(); ok; hb, ok = c.Next() {
			if got, ok := transport.Payload(hb.Frame); ok && len(got) == len(payload) {
				taken++
			}
		}
	})
	if allocs != 0 || failed != nil || taken != 201 {
		t.Errorf("%v allocations, %v, %d heartbeats", allocs, failed, taken)
	}
}

// The ring goes round many times, and is read while it is written.
func TestRingUnderLoad(t *testing.T) {
	s, _ := newListening(t, cluster.AttachTCX)
	c, sender := openControl(t, s.dir), s.open(t, vip4)
	const count, ahead = 20000, 1000 // the ring has room for 1,372
	var taken atomic.Uint32
	sent := make(chan error, 1)
	go func() {
		payload := make([]byte, 100)
		for i := range uint32(count) {
			for i > taken.Load()+ahead {
				runtime.Gosched()
			}
			be.PutUint32(payload, i)
			if err := sender.Send(payload); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for taken.Load() < count {
		got, ok := transport.Payload(await(t, c).Frame)
		if !ok || len(got) != 100 || be.Uint32(got) != taken.Load() {
			t.Fatalf("number %d: %t, % x", taken.Load(), ok, got)
		}
		taken.Add(1)
	}
	must(t, <-sent)
}

// Heartbeats that came while no process was there are kept for the next one.
func TestControlReopened(t *testing.T) {
	s, p := newListening(t, cluster.AttachTCX)
	sender := s.open(t, vip4)
	c, err := OpenControl(s.dir, cluster.DefaultBuckets)
	must(t, err)
	c.SetTable(7, []uint8{uint8(Owned)})
	must(t, errors.Join(sender.Send([]byte("one")), sender.Send([]byte("two"))))
	if got, _ := transport.Payload(await(t, c).Frame); string(got) != "one" {
		t.Errorf("got %q", got)
	}
	if hb, ok := c.Next(); !ok {
		t.Errorf("%+v", hb)
	}
	c.Next() // gives the second one back, too
	must(t, errors.Join(sender.Send([]byte("three")), c.Close()))
	c = openControl(t, s.dir)
	if c.Epoch() != 7 || p.Epoch() != 7 {
		t.Errorf("epoch %d, the agent's %d", c.Epoch(), p.Epoch())
	}
	if got, _ := transport.Payload(await(t, c).Frame); string(got) != "three" {
		t.Errorf("got %q", got)
	}
}

// Table and lease of the process are what the programs act upon, and the agent
// can end the lease at any time.
func TestControlDecides(t *testing.T) {
	enterNamespace(t)
	dir := newDir(t)
	if _, err := OpenControl(dir, cluster.DefaultBuckets); !errors.Is(err, ErrNotPinned) {
		t.Errorf("before the agent: %v", err)
	}
	p := open(t, dir, testCluster())
	if _, err := OpenControl(dir, 17); err == nil {
		t.Error("opened for another number of buckets")
	}
	c := openControl(t, dir)
	states := slices.Repeat([]uint8{uint8(Owned), uint8(Draining)}, cluster.DefaultBuckets/2)
	c.SetTable(3, states)
	c.SetLease(3, Now()+time.Hour)
	check := func(epoch uint64, leased bool, first ...State) {
		t.Helper()
		s, err := Inspect(dir)
		must(t, err)
		if s.TableEpoch != epoch || s.Lease > 0 != leased || !slices.Equal(s.States[:len(first)], first) {
			t.Errorf("table %d of %v, lease %s; want %d of %v, %t", s.TableEpoch, s.States[:len(first)], s.Lease, epoch, first, leased)
		}
	}
	check(3, true, Owned, Draining, Owned)
	c.SetTable(4, []uint8{uint8(Acquiring)})
	check(4, true, Acquiring, Foreign, Foreign)
	must(t, p.Close())
	p = open(t, dir, testCluster())
	check(4, false, Acquiring, Foreign)
	c.SetLease(4, Now()+time.Hour)
	check(4, true, Acquiring)
	must(t, p.Remove())
	if left := time.Duration(c.control.shared.LeaseDeadline) - Now(); left > 0 {
		t.Errorf("%s of lease left", left)
	}
}

// A half that was in use until a moment ago may be read still. What another
// process did before this one came is not known.
func TestSwapPause(t *testing.T) {
	enterNamespace(t)
	dir := newDir(t)
	p := open(t, dir, testCluster())
	defer p.Close()
	var c *Control
	for i, set := range []func(epoch uint64){
		func(epoch uint64) { c = openControl(t, dir); c.SetTable(epoch, nil) },
		func(epoch uint64) { c.SetTable(epoch, nil) },
		func(epoch uint64) { p.SetTable(epoch-1, nil); p.SetTable(epoch, nil) },
	} {
		before := Now()
		set(uint64(2*i + 1))
		if took := Now() - before; took < swapPause*9/10 {
			t.Errorf("%d: %s for the table", i, took)
		}
	}
}

func TestRingSize(t *testing.T) {
	for interfaces, want := range map[int]uint32{0: 1 << 20, 1: 1 << 20, 2: 2 << 20, 3: 4 << 20, 8: 8 << 20} {
		if got := ringSize(interfaces); got != want {
			t.Errorf("%d interfaces: %d bytes, want %d", interfaces, got, want)
		}
	}
}

// BenchmarkHeartbeat is one way: from Send on one node to the message on the
// other, by a bridge, with a real-time receiver asleep in poll.
func BenchmarkHeartbeat(b *testing.B) {
	for _, vip := range []netip.Addr{vip4, vip6} {
		b.Run(fmt.Sprintf("v6=%t", vip.Is6()), func(b *testing.B) { benchmarkHeartbeat(b, vip) })
	}
}

func benchmarkHeartbeat(b *testing.B, vip netip.Addr) {
	enterNamespace(b)
	r := newRig(b, setup{heartbeats: true})
	s := newSegment(b, "")
	attachRig(b, r, cluster.AttachTCX, s.host.Index)
	ring, err := mapRing(r.maps["heartbeats"])
	must(b, err)
	defer ring.close()
	c := &Control{ring: ring, heartbeats: r.maps["heartbeats"]}
	sender, payload := s.open(b, vip), make([]byte, 1000)
	type times struct{ arrived, taken time.Duration }
	taken := make(chan times)
	go func() {
		runtime.LockOSThread() // and not unlocked: the thread ends with this
		if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 10}, 0); err != nil {
			b.Errorf("become real-time: %v", err)
		}
		for range b.N {
			hb := await(b, c)
			at := Now()
			taken <- times{hb.Received, at}
		}
	}()
	oneWay, sending := make([]time.Duration, b.N), make([]time.Duration, b.N)
	for i := range b.N {
		time.Sleep(time.Millisecond) // until the receiver sleeps
		before := Now()
		must(b, sender.Send(payload))
		sending[i] = Now() - before
		oneWay[i] = (<-taken).taken - before
	}
	slices.Sort(oneWay)
	slices.Sort(sending)
	b.ReportMetric(float64(oneWay[b.N/2])/1e3, "µs-p50")
	b.ReportMetric(float64(oneWay[b.N*99/100])/1e3, "µs-p99")
	b.ReportMetric(float64(sending[b.N/2])/1e3, "µs-in-Send-p50")
}
