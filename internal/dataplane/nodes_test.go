//go:build privileged

package dataplane

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/vishvananda/netns"
)

// node is a host in a network namespace of its own, with programs for the
// interface on its client side and, in gateways, its server side. The programs
// decide, and what they let pass the test puts on the wire behind them.
type node struct {
	t     testing.TB
	name  string
	ns    netns.NsHandle
	rigs  []*rig // by cluster.Side
	wires []*wire
}

// newNode makes a node, and leaves the calling thread in its namespace.
func newNode(t testing.TB, name string, s setup) *node {
	t.Helper()
	enterNamespace(t)
	ns, err := netns.Get()
	must(t, err)
	t.Cleanup(func() { ns.Close() })
	sysctl(t, "ipv4/tcp_syncookies", "0")
	n := &node{t: t, name: name, ns: ns, wires: []*wire{newWire(t, 1500)}, rigs: []*rig{newRig(t, s)}}
	if s.mode == cluster.Gateway {
		s.side = cluster.ServerSide
		back := plug(t, "back", "far", 1500)
		for _, f := range families {
			back.route(f.server)
		}
		n.wires, n.rigs = append(n.wires, back), append(n.rigs, newRig(t, s))
		forward(t)
		run(t, firewall, "nft", "-f", "-")
	}
	return n
}

// forward makes the host one that forwards.
func forward(t testing.TB) {
	t.Helper()
	for name, value := range map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1",
		"ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0"} {
		sysctl(t, name, value)
	}
}

// firewall is one that tracks connections and forwards no segment that fits none.
const firewall = `table inet filter {
	chain forward {
	type filter hook forward priority 0
	ct state established,related accept
	ct state invalid drop
	}
}`

// run runs a program in the namespace of the calling thread.
func run(t testing.TB, input, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

// in runs fn in the node's namespace. The calling thread is locked.
func (n *node) in(fn func()) {
	n.t.Helper()
	inNamespace(n.t, n.ns, fn)
}

// become puts all buckets into one state.
func (n *node) become(s State) {
	for _, r := range n.rigs {
		r.share(-1, Foreign, s, goodLease)
	}
}

// handles reports whether the node takes a frame; both programs must agree.
func (n *node) handles(side cluster.Side, frame []byte) (taken bool, counted string) {
	n.t.Helper()
	n.in(func() {
		x := n.rigs[side].run(n.t, inXDP, frame)
		taken, counted = x.passed, x.counted
		if tc := n.rigs[side].run(n.t, inTCX, frame); tc.passed != taken || !strings.Contains(counted, tc.counted) {
			n.t.Errorf("%s: xdp counts %s, tcx %s", n.name, x.counted, tc.counted)
		}
	})
	return taken, counted
}

// twins are the two nodes of a bucket that moves. All frames come to both.
type twins struct {
	t        testing.TB
	old, new *node
}

func newTwins(t testing.TB, s setup) *twins {
	t.Helper()
	tw := &twins{t: t, old: newNode(t, "old", s), new: newNode(t, "new", s)}
	tw.move()
	return tw
}

func (tw *twins) move() {
	tw.old.become(Draining)
	tw.new.become(Acquiring)
}

// moveBack changes the nodes' roles.
func (tw *twins) moveBack() {
	tw.old, tw.new = tw.new, tw.old
	tw.move()
}

// expect is who is to take a frame.
type expect int

const (
	nobody expect = iota
	theOld
	theNew
)

func (e expect) String() string { return [...]string{"nobody", "the old owner", "the new owner"}[e] }

// check has both nodes decide about a frame.
func (tw *twins) check(what string, side cluster.Side, frame []byte, want expect) {
	tw.t.Helper()
	byOld, old := tw.old.handles(side, frame)
	byNew, new := tw.new.handles(side, frame)
	if byOld != (want == theOld) || byNew != (want == theNew) {
		tw.t.Errorf("%s: the old owner counts %s, the new one %s; want %s to take it", what, old, new, want)
	}
}

// pass has both nodes decide, and gives the frame to the one that should take it.
func (tw *twins) pass(what string, side cluster.Side, frame []byte, want expect) {
	tw.t.Helper()
	tw.check(what, side, frame, want)
	switch want {
	case theOld:
		tw.old.wires[side].send(toStack(frame))
	case theNew:
		tw.new.wires[side].send(toStack(frame))
	}
}

// toStack is a frame as XDP hands it on.
func toStack(frame []byte) []byte { return toHostMAC.apply(inXDP, frame) }
