//go:build privileged

package dataplane

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/vishvananda/netns"
)

// variant is one way in which frames are decided: constants, and a lease.
type variant struct {
	setup setup
	force inForce
	lease string
}

func variants() []variant {
	marking := cluster.Action{Marking: true, Mark: cluster.Mark{Value: 1, Mask: 0xff}, ForeignMark: cluster.Mark{Value: 2, Mask: 0xff}}
	return []variant{
		{setup{heartbeats: true}, goodLease, ""},
		{setup{side: cluster.ServerSide, buckets: 3}, goodLease, ""},
		{setup{affinity: cluster.ByFlow}, goodLease, ""},
		{setup{affinity: cluster.ByFlow, side: cluster.ServerSide}, goodLease, ""},
		{setup{affinity: cluster.ByNetwork}, inForce{5, 5, 0}, "drop_no_lease"},
		{setup{key: cluster.KeyOriginal, firstWord: true}, goodLease, ""},
		{setup{buckets: 65536}, inForce{4, 5, time.Hour}, "drop_stale_table"},
		{setup{handover: keepUDP}, goodLease, ""},
		{setup{handover: keepUDP, affinity: cluster.ByFlow}, goodLease, ""},
		{setup{mode: cluster.Gateway}, goodLease, ""},
		{setup{mode: cluster.Gateway, handover: byConntrack, side: cluster.ServerSide}, goodLease, ""},
		{setup{action: marking}, goodLease, ""},
	}
}

// pair is the programs of one variant beside their twin.
type pair struct {
	*rig
	twin twin
	ring *ringbuf.Reader
}

// every fifth bucket is in one of the five states.
func stateOf(bucket int) State { return State(bucket % 5) }

func newPair(t testing.TB, v variant) *pair {
	t.Helper()
	p := &pair{rig: newRig(t, v.setup), twin: twin{v.setup, stateOf, v.lease, make(map[datagram]string)}}
	p.share(-1, Foreign, Foreign, v.force)
	states := make([]State, p.cluster.Hash.Buckets)
	for i := range states {
		states[i] = stateOf(i)
	}
	p.control.swapped = 0
	p.control.setTable(v.force.tableEpoch, stateBytes(states))
	var err error
	p.ring, err = ringbuf.NewReader(p.maps["heartbeats"])
	must(t, err)
	t.Cleanup(func() { p.ring.Close() })
	return p
}

// marked is what action mark makes of the counters, and of the mark.
func (w twin) marked(counted string, mark uint32) (string, uint32) {
	set := func(m cluster.Mark) uint32 { return mark&^m.Mask | m.Value }
	if !w.setup.action.Marking {
		return counted, mark
	}
	counters := strings.Fields(counted)
	for i, name := range counters {
		switch {
		case strings.HasPrefix(name, "handle_"):
			counters[i], mark = "mark_owned", set(w.setup.action.Mark)
		case slices.Contains([]string{"drop_foreign", "drop_no_lease", "drop_stale_table", "drop_not_my_flow",
			"drop_new_flow", "drop_held", "drop_kept", "drop_untracked"}, name):
			counters[i], mark = "mark_foreign", set(w.setup.action.ForeignMark)
		}
	}
	slices.Sort(counters)
	return strings.Join(counters, " "), mark
}

// out is what a frame is when it goes on.
func (w twin) out(k kind, counted string, frame []byte) []byte {
	how := asItCame
	forHost := !strings.Contains(counted, "pass_other") && counted != "pass_vlan" && counted != "pass_multicast"
	if forHost && cluster.MAC(frame[:6]) == toCluster {
		how = toHostMAC
		if strings.Contains(counted, "pass_neighbour") && be.Uint16(frame[12:]) == 0x0806 && cluster.MAC(frame[32:38]) == toCluster {
			how = toHostARP
		}
	}
	return how.apply(k, frame)
}

// compare runs a frame through the programs and their twin.
func (p *pair) compare(t testing.TB, frame []byte) {
	t.Helper()
	if len(p.twin.fragments) > 1000 { // of the 4096 that are remembered
		clear(p.twin.fragments)
		forgetFragments(t, p.rig)
	}
	decided := p.twin.ingress(frame)
	for _, k := range []kind{inXDP, inTCX} {
		if p.programs[k] == nil || k == inTCX && !takesSKB(frame) {
			continue
		}
		want, mark := decided, uint32(0)
		if k == inTCX {
			want, mark = p.twin.marked(decided, oldMark)
		}
		got := p.run(t, k, frame)
		if got.counted == "heartbeat" {
			p.ring.SetDeadline(time.Now().Add(time.Second))
			if _, err := p.ring.Read(); err != nil {
				t.Fatal(err)
			}
		}
		if got.counted != want || got.passed != goesOn(want) {
			t.Fatalf("%s: %q (passed: %t), the twin says %q, with %v of\n%s", k, got.counted, got.passed, want, p.setup, hex.Dump(frame))
		}
		if got.passed && !bytes.Equal(got.out, p.twin.out(k, want, frame)) {
			t.Fatalf("%s, %s: out\n%sof\n%s", k, want, hex.Dump(got.out), hex.Dump(frame))
		}
		if got.mark != mark {
			t.Fatalf("%s, %s: mark %#x, want %#x", k, want, got.mark, mark)
		}
	}
}

// seeds are the frames of the tables.
func seeds() [][]byte {
	var frames [][]byte
	for _, r := range slices.Concat(flowRows(), fragmentRows(), errorRows(), otherRows(), malformedRows(),
		arpRows(), ndRows(), heartbeatRows()) {
		if len(r.frame) <= 3000 {
			frames = append(frames, r.frame)
		}
	}
	for _, r := range egressRows() {
		frames = append(frames, r.frame)
	}
	return frames
}

func FuzzIngress(f *testing.F) {
	enterNamespace(f)
	empty, err := netns.Get()
	must(f, err)
	f.Cleanup(func() { empty.Close() })
	var pairs []*pair
	for _, v := range variants() {
		pairs = append(pairs, newPair(f, v))
	}
	for i, frame := range seeds() {
		f.Add(byte(i), frame)
	}
	f.Fuzz(func(t *testing.T, choice byte, frame []byte) {
		if len(frame) < 14 || len(frame) > 3000 {
			return // no frame that a test run takes
		}
		inNamespace(t, empty, func() { pairs[int(choice)%len(pairs)].compare(t, frame) })
	})
}

// inNamespace runs fn on a thread that is in a network namespace.
func inNamespace(t testing.TB, ns netns.NsHandle, fn func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, err := netns.Get()
	must(t, err)
	defer old.Close()
	must(t, netns.Set(ns))
	defer func() { must(t, netns.Set(old)) }()
	fn()
}

// TestMutated is a fuzz of fixed length, from a fixed beginning.
func TestMutated(t *testing.T) {
	enterNamespace(t)
	var pairs []*pair
	for _, v := range variants() {
		pairs = append(pairs, newPair(t, v))
	}
	frames := seeds()
	for _, frame := range frames {
		for _, p := range pairs {
			p.compare(t, frame)
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		frame := mutate(rnd, frames[rnd.IntN(len(frames))], frames[rnd.IntN(len(frames))])
		pairs[rnd.IntN(len(pairs))].compare(t, frame)
	}
}

// mutate spares the addresses that lead into the cluster more often than not.
func mutate(rnd *rand.Rand, frame, other []byte) []byte {
	f := slices.Clone(frame)
	if len(f) > 14 && rnd.IntN(4) == 0 {
		at := 14 + rnd.IntN(len(f)-14)
		f = append(f[:at], other[min(at, len(other)):]...)
	}
	for range rnd.IntN(4) {
		at := rnd.IntN(len(f))
		if at < 14 && rnd.IntN(4) > 0 {
			continue
		}
		f[at] = []byte{0, 1, 0xff, f[at] + 1, f[at] - 1, f[at] ^ 1<<rnd.IntN(8), byte(rnd.Uint32())}[rnd.IntN(7)]
	}
	switch rnd.IntN(8) {
	case 0:
		f = f[:14+rnd.IntN(len(f)-13)]
	case 1:
		f = append(f, make([]byte, rnd.IntN(40))...)
	}
	return f
}
