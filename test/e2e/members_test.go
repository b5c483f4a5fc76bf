//go:build privileged

package e2e

import (
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/heartbeat"
	"github.com/shoal-net/shoal/internal/lab"
)

// What `shoal status` says of a cluster in which all is well, on each node.
func TestMembersStatus(t *testing.T) {
	l, _ := startMembers(t, lab.Options{Nodes: 3})
	for _, n := range l.Nodes {
		m := awaitMembers(t, n, "a view of all nodes", func(m *heartbeat.Status) bool {
			return m.View != nil && m.LeaseLeftMS > 0 && !slices.ContainsFunc(m.Nodes, func(n heartbeat.NodeStatus) bool {
				return !n.Present || !n.SameView || n.State != "serving" || n.Says != "serving" || n.Buckets < 1365 || n.Buckets > 1366
			})
		})
		if len(m.View.Voters) != 3 || m.View.Reason == "" || len(m.Nodes) != 3 || !nodeOf(m, n.ID).Self {
			t.Errorf("%s: %+v, %+v", n.Name, m.View, m.Nodes)
		}
		for _, peer := range m.Nodes {
			if ms, heard := peer.LastHeardMS["eth1"]; !peer.Self && (!heard || ms > 100 || !slices.Equal(peer.HearsUs, []string{"eth1"})) {
				t.Errorf("%s of %s: %+v", n.Name, peer.Name, peer)
			}
		}
		for _, w := range m.Warnings {
			if !strings.HasPrefix(w, "no `key`") && !strings.HasPrefix(w, "the node is lost when memory runs out") {
				t.Errorf("%s warns: %s", n.Name, w)
			}
		}
		out := in(t, n.NS, shoal, "status", "--instance", n.Instance, "--interval", "10ms")
		for _, part := range []string{"view    epoch ", "NODE  NAME   STATE", "HEARD ON ETH1", "2     node2  serving  100     136"} {
			if !strings.Contains(out, part) {
				t.Errorf("%s: %q is not in\n%s", n.Name, part, out)
			}
		}
	}
}

// Who hears nobody though its link is up says so, in status and in the log.
func TestMembersDeaf(t *testing.T) {
	l, log := startMembers(t, lab.Options{Nodes: 3})
	heal, err := l.Inject(lab.Fault{Kind: lab.Deaf, Nodes: []int{2}})
	must(t, err)
	const words = "no other node is heard, though eth1 has a link"
	began := time.Now()
	awaitMembers(t, l.Nodes[1], "a warning", func(m *heartbeat.Status) bool { return warned(m, words) })
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	await(t, "the warning in the log", func() bool { return strings.Contains(log.String(), words) })
	must(t, heal(t.Context()))
	awaitMembers(t, l.Nodes[1], "no warning any more", func(m *heartbeat.Status) bool { return !warned(m, words) && m.LeaseLeftMS > 0 })
	await(t, "its end in the log", func() bool { return strings.Contains(log.String(), "over: "+words) })
}

// Heartbeats travel on a link of their own, too, as soon as it is there. It does
// not stand in for the clients' link: who is not heard there gives up, and it is
// said who that is.
func TestMembersDedicatedLink(t *testing.T) {
	l, log := startMembers(t, lab.Options{Nodes: 3, NodeConfig: func(_ int, file string) string {
		return file + "heartbeat-interfaces: [hb0]\n"
	}})
	await(t, "a warning of the missing link", func() bool { return strings.Contains(log.String(), "no heartbeats on hb0: hb0: no such interface") })
	in(t, l.Switch, "ip", "link", "add", "dedicated", "type", "bridge")
	in(t, l.Switch, "ip", "link", "set", "dedicated", "up")
	for _, n := range l.Nodes {
		port := "hb" + strconv.Itoa(n.ID)
		in(t, n.NS, "ip", "link", "add", "hb0", "type", "veth", "peer", "name", port, "netns", l.Switch.Name)
		in(t, l.Switch, "ip", "link", "set", port, "master", "dedicated", "up")
		in(t, n.NS, "ip", "link", "set", "hb0", "up")
	}
	for _, n := range l.Nodes {
		awaitMembers(t, n, "all are heard on both links", func(m *heartbeat.Status) bool {
			return !slices.ContainsFunc(m.Nodes, func(n heartbeat.NodeStatus) bool {
				return !n.Self && !slices.Equal(n.HearsUs, []string{"eth1", "hb0"})
			})
		})
	}
	heal, err := l.Inject(lab.Fault{Kind: lab.Mute, Nodes: []int{2}})
	must(t, err)
	awaitMembers(t, l.Nodes[0], "node2 is named, and gives up", func(m *heartbeat.Status) bool {
		return warned(m, "node2 is not heard on eth1, where others are") && nodeOf(m, 2).Buckets == 0
	})
	awaitMembers(t, l.Nodes[1], "it knows itself", func(m *heartbeat.Status) bool {
		return warned(m, "node1 and node3 are heard on eth1, and cannot hear this node there") && m.LeaseLeftMS == 0
	})
	must(t, heal(t.Context()))
	awaitMembers(t, l.Nodes[0], "node2 is back", func(m *heartbeat.Status) bool { return nodeOf(m, 2).Buckets >= 1365 })
}

// An agent that shows no life takes its node out of the cluster until it lives
// again: nobody keeps programs and addresses in place meanwhile.
func TestMembersStuckAgent(t *testing.T) {
	l, _ := startMembers(t, lab.Options{Nodes: 3})
	heartbeatPID, err := l.Nodes[0].HeartbeatPID()
	must(t, err)
	must(t, l.Nodes[0].Signal(syscall.SIGSTOP))
	awaitMembers(t, l.Nodes[1], "node1 gives up, by its own word", func(m *heartbeat.Status) bool {
		return nodeOf(m, 1).Buckets == 0 && nodeOf(m, 2).Buckets == 2048 && strings.Contains(m.View.Reason, "node1 gave up its buckets")
	})
	must(t, l.Nodes[0].Signal(syscall.SIGCONT))
	awaitMembers(t, l.Nodes[1], "node1 is back", func(m *heartbeat.Status) bool { return nodeOf(m, 1).Buckets >= 1365 })
	if pid, err := l.Nodes[0].HeartbeatPID(); err != nil || pid != heartbeatPID {
		t.Errorf("another heartbeat process: %d, %v", pid, err)
	}
}

// A heartbeat process that dies is replaced; without an agent none stays.
func TestMembersProcesses(t *testing.T) {
	l, _ := startMembers(t, lab.Options{Nodes: 3})
	n := l.Nodes[0]
	first, err := n.HeartbeatPID()
	must(t, err)
	must(t, syscall.Kill(first, syscall.SIGKILL))
	await(t, "another heartbeat process", func() bool {
		pid, err := n.HeartbeatPID()
		return err == nil && pid != first
	})
	awaitMembers(t, n, "it serves again", func(m *heartbeat.Status) bool { return m.LeaseLeftMS > 0 && nodeOf(m, 1).Buckets >= 1365 })
	second, err := n.HeartbeatPID()
	must(t, err)
	must(t, n.Kill())
	await(t, "the end of the heartbeat process without an agent", func() bool { return syscall.Kill(second, 0) == syscall.ESRCH })
	awaitMembers(t, l.Nodes[1], "node1 is out", func(m *heartbeat.Status) bool { return nodeOf(m, 1).Buckets == 0 })
	if s := statusOf(t, n.NS, n.Instance); s.Members != nil || s.Lease.Valid ||
		!slices.ContainsFunc(s.Warnings, func(w string) bool { return strings.Contains(w, "what the nodes know of each other is not shown") }) {
		t.Errorf("without an agent: %+v", s)
	}
	must(t, n.Start(t.Context()))
	awaitMembers(t, n, "it serves again", func(m *heartbeat.Status) bool { return m.LeaseLeftMS > 0 && nodeOf(m, 1).Buckets >= 1365 })
}

// A voter handles nothing, and makes two servers a majority of three.
func TestMembersVoter(t *testing.T) {
	l, _ := newLab(t, lab.Options{Nodes: 3, NoServices: true, Clients: 1, NodeConfig: func(_ int, file string) string {
		return strings.Replace(file, "name: node3, ", "name: node3, serve: false, ", 1)
	}})
	awaitMembers(t, l.Nodes[2], "two nodes share the buckets", func(m *heartbeat.Status) bool {
		return nodeOf(m, 1).Buckets == 2048 && nodeOf(m, 2).Buckets == 2048 && len(m.View.Voters) == 3
	})
	must(t, l.Nodes[0].Kill())
	awaitMembers(t, l.Nodes[2], "the other server has all", func(m *heartbeat.Status) bool { return nodeOf(m, 2).Buckets == 4096 })
}
