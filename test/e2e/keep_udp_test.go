//go:build privileged

package e2e

import (
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/heartbeat"
	"github.com/shoal-net/shoal/internal/lab"
)

// UDP flows and TCP connections stay with their node when it is drained, and
// where they are when it is not any more; new flows go to the new owner.
func TestKeepUDP(t *testing.T) {
	testKeep(t, lab.Options{NodeConfig: keepUDP})
}

func keepUDP(_ int, file string) string { return file + "udp: keep\nlease: 500ms\n" }

// The same through gateways with a firewall that drops what connection tracking
// does not know.
func TestKeepThroughGateway(t *testing.T) {
	o := lab.Options{Name: labName(), Mode: cluster.Gateway}
	o.NodeConfig = func(node int, file string) string {
		// Agents start only where connections are tracked.
		ns, err := lab.OpenNamespace(fmt.Sprintf("shoal-%s-node%d", o.Name, node))
		must(t, err)
		in(t, ns, "nft", strictFirewall)
		must(t, ns.Sysctl("netfilter/nf_conntrack_tcp_loose", "0"))
		return file + "flows: conntrack\nlease: 500ms\n"
	}
	testKeep(t, o)
}

// strictFirewall lets only UDP and TCP in that open a flow as they should:
// connections are not taken over in their middle.
const strictFirewall = `table inet e2e_firewall {
	counter invalid {}
	chain forward {
		type filter hook forward priority filter;
		ct state established,related accept
		ct state invalid counter name invalid drop
		ct state new accept
	}
}`

// awaitSettled waits until no bucket moves.
func awaitSettled(t *testing.T, l *lab.Lab) {
	t.Helper()
	awaitMembers(t, l.Nodes[0], "a view that is final", func(m *heartbeat.Status) bool {
		return m.View != nil && m.View.SinceMS > 500 && m.View.Moving == 0
	})
}

func testKeep(t *testing.T, o lab.Options) {
	o.Nodes, o.Clients, o.NoServices = 3, 12, true
	l, _ := newLab(t, o)
	awaitSettled(t, l)
	w := watchTalks(t, l)
	old := w.talk(l.ClientAddresses())
	w.awaitMore(old)
	if n := len(w.on(2, old)); n == 0 || n == len(old) {
		t.Fatalf("%d of %d flows are on node2", n, len(old))
	}

	stop := w.keepTalking()
	give(t, l.Nodes[0], "drain", "node2", "--no-wait")
	awaitMembers(t, l.Nodes[0], "node2 without a bucket", func(m *heartbeat.Status) bool {
		return nodeOf(m, 2).Buckets == 0 && nodeOf(m, 2).Draining > 0 && nodeOf(m, 2).SameView
	})
	during := stop()
	young := w.talk(l.ClientAddresses())
	w.awaitMore(slices.Concat(old, during, young))
	if there := w.on(2, young); len(there) > 0 {
		t.Errorf("node2 is drained, and takes new flows: %v", there)
	}

	replaceAgent(t, l.Nodes[1]) // of the old owner …
	replaceAgent(t, l.Nodes[0]) // … and of a new one
	w.awaitMore(slices.Concat(old, during, young))

	stop = w.keepTalking()
	give(t, l.Nodes[2], "undrain", "node2")
	awaitMembers(t, l.Nodes[0], "node2 with its buckets", func(m *heartbeat.Status) bool {
		return nodeOf(m, 2).Buckets > 1300 && nodeOf(m, 2).Acquiring > 0 && nodeOf(m, 2).SameView
	})
	during = append(during, stop()...)
	youngest := w.talk(l.ClientAddresses())
	w.awaitMore(slices.Concat(old, during, young, youngest))
	if len(w.on(2, youngest)) == 0 {
		t.Error("node2 has its buckets again, and no new flow")
	}
	w.finish()
}

// An old owner whose agent hangs cannot say which flows it keeps. New ones wait
// until it is out, which is soon, and are answered then.
func TestKeepUDPStuckAgent(t *testing.T) {
	l, _ := newLab(t, lab.Options{Nodes: 3, Clients: 12, NoServices: true,
		NodeConfig: func(_ int, file string) string { return file + "udp: keep\nlease: 200ms\n" }})
	awaitSettled(t, l)
	w := watchTalks(t, l)
	stuck := l.Nodes[1]
	must(t, stuck.Signal(syscall.SIGSTOP))
	t.Cleanup(func() { stuck.Signal(syscall.SIGCONT) })
	give(t, l.Nodes[0], "drain", "node2", "--no-wait")
	awaitMembers(t, l.Nodes[0], "node2 without a bucket", func(m *heartbeat.Status) bool { return nodeOf(m, 2).Buckets == 0 })
	young := w.talk(l.ClientAddresses())
	w.awaitMore(young)
	if there := w.on(2, young); len(there) > 0 {
		t.Errorf("node2 is drained, and takes new flows: %v", there)
	}
	w.finish()
}

// Buckets move again before their old owners are done with them: there are
// several then, and one may get its bucket back.
func TestKeepUDPOverlapping(t *testing.T) {
	l, _ := newLab(t, lab.Options{Nodes: 3, Clients: 12, NoServices: true, NodeConfig: keepUDP})
	awaitSettled(t, l)
	w := watchTalks(t, l)
	w.awaitMore(w.talk(l.ClientAddresses()))
	for _, order := range [][]string{
		{"drain", "node2", "--no-wait"}, {"drain", "node3", "--no-wait"}, {"undrain", "node2"}, {"drain", "node1", "--no-wait"},
		{"undrain", "node3"}, {"weight", "node3", "20"}, {"undrain", "node1"}, {"weight", "node3", "file"},
	} {
		give(t, l.Nodes[0], order...)
		w.awaitMore(w.talk(l.ClientAddresses()))
	}
	w.finish()
}
