//go:build privileged

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/agent"
	"github.com/shoal-net/shoal/internal/heartbeat"
	"github.com/shoal-net/shoal/internal/lab"
)

// startMembers builds a lab whose nodes know each other and have shared the
// buckets out.
func startMembers(t *testing.T, o lab.Options) (*lab.Lab, *logbook) {
	t.Helper()
	o.NoServices, o.Clients = true, 1
	l, log := newLab(t, o)
	must(t, l.Settle(t.Context()))
	awaitMembers(t, l.Nodes[0], "a view that is final", func(m *heartbeat.Status) bool {
		return m.View != nil && m.View.SinceMS > 500 && m.View.Moving == 0 && !slices.ContainsFunc(m.Nodes, func(n heartbeat.NodeStatus) bool { return !n.SameView })
	})
	return l, log
}

// members is what a node knows of the cluster; nil: nothing, for now.
func members(t *testing.T, n *lab.Node) *heartbeat.Status {
	t.Helper()
	return statusOf(t, n.NS, n.Instance).Members
}

func awaitMembers(t *testing.T, n *lab.Node, what string, holds func(*heartbeat.Status) bool) (m *heartbeat.Status) {
	t.Helper()
	await(t, n.Name+": "+what, func() bool {
		m = members(t, n)
		return m != nil && holds(m)
	})
	return m
}

func nodeOf(m *heartbeat.Status, id int) heartbeat.NodeStatus {
	i := slices.IndexFunc(m.Nodes, func(n heartbeat.NodeStatus) bool { return n.ID == id })
	if i < 0 {
		return heartbeat.NodeStatus{}
	}
	return m.Nodes[i]
}

func warned(m *heartbeat.Status, part string) bool {
	return slices.ContainsFunc(m.Warnings, func(w string) bool { return strings.Contains(w, part) })
}

// rewrite edits a node's file.
func rewrite(t *testing.T, n *lab.Node, old, new string) {
	t.Helper()
	text, err := os.ReadFile(n.Config)
	must(t, err)
	edited := strings.Replace(string(text), old, new, 1)
	if edited == string(text) {
		t.Fatalf("%q is not in the file:\n%s", old, text)
	}
	must(t, os.WriteFile(n.Config, []byte(edited), 0o600))
}

func reload(t *testing.T, n *lab.Node) {
	t.Helper()
	in(t, n.NS, shoal, "reload", "lab", "--instance", n.Instance)
}

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

// A new agent goes on in the place of the old one: no view changes, no bucket
// moves, and the lease never ends.
func TestMembersReplace(t *testing.T) {
	l, _ := startMembers(t, lab.Options{Nodes: 3, NodeConfig: patientLease})
	n := l.Nodes[0]
	before := awaitMembers(t, n, "a view", func(m *heartbeat.Status) bool { return m.View != nil && m.LeaseLeftMS > 0 })
	oldHeartbeat, err := n.HeartbeatPID()
	must(t, err)

	gap := watchLease(t, n)
	cmd := replaceAgent(t, n)
	after := awaitMembers(t, n, "the new agent answers", func(m *heartbeat.Status) bool { return m.View != nil })
	if lapsed := gap(); lapsed != 0 {
		t.Errorf("the lease was over %d times", lapsed)
	}
	if after.View.Epoch != before.View.Epoch || nodeOf(after, 1).Buckets != nodeOf(before, 1).Buckets {
		t.Errorf("view %d became %d: %s", before.View.Epoch, after.View.Epoch, after.View.Reason)
	}
	if err := syscall.Kill(oldHeartbeat, 0); err != syscall.ESRCH {
		t.Errorf("the old heartbeat process is still there: %v", err)
	}
	if s := statusOf(t, n.NS, n.Instance); s.Agent.PID != cmd.Process.Pid || !s.Agent.Running {
		t.Errorf("the agent is said to be %+v, not %d", s.Agent, cmd.Process.Pid)
	}
	for _, other := range l.Nodes[1:] {
		if m := members(t, other); m == nil || m.View.Epoch != before.View.Epoch {
			t.Errorf("%s: another view: %+v", other.Name, m)
		}
	}
	// The new one leaves as the old one would have.
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	awaitMembers(t, l.Nodes[1], "node1 has left", func(m *heartbeat.Status) bool { return nodeOf(m, 1).Buckets == 0 })
}

// replaceAgent has a new agent go on in the place of a node's agent, and waits
// for the end of that one. The new one ends with the test.
func replaceAgent(t *testing.T, n *lab.Node) *exec.Cmd {
	t.Helper()
	log := &agentLog{}
	cmd := exec.Command(shoal, "up", "--replace", "-c", n.Config, "--instance", n.Instance)
	cmd.Stdout, cmd.Stderr = log, log
	must(t, n.NS.Start(cmd))
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("the new agent of %s:\n%s", n.Name, log)
		}
	})
	await(t, "the end of the old agent", func() bool { return !n.Running() })
	if text := n.Err().Error(); !strings.Contains(text, "exit status 0") {
		t.Errorf("the old agent: %s", text)
	}
	return cmd
}

// As `systemctl reload` does it: a command that returns when a new agent has
// taken over, and fails without harm where it cannot.
func TestMembersReplaceInBackground(t *testing.T) {
	l, _ := startMembers(t, lab.Options{Nodes: 3, NodeConfig: patientLease})
	n := l.Nodes[0]
	before := members(t, n)
	gap := watchLease(t, n)
	replace := func() (string, error) {
		cmd := exec.CommandContext(t.Context(), shoal, "up", "--replace", "--background", "-c", n.Config, "--instance", n.Instance)
		log, err := os.Create(filepath.Join(t.TempDir(), "log")) // which the agent keeps: a pipe would not end
		must(t, err)
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
		must(t, n.NS.Start(cmd))
		err = cmd.Wait()
		text, readErr := os.ReadFile(log.Name())
		must(t, readErr)
		return string(text), err
	}
	if out, err := replace(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	await(t, "the end of the old agent", func() bool { return !n.Running() })
	s := statusOf(t, n.NS, n.Instance)
	pid := s.Agent.PID
	t.Cleanup(func() { syscall.Kill(pid, syscall.SIGTERM) })
	if !s.Agent.Running || pid == n.PID() || s.Members == nil || s.Members.View.Epoch != before.View.Epoch {
		t.Errorf("after the first: %+v", s)
	}
	rewrite(t, n, "seed: 0xdeadbeef", "seed: 1")
	if out, err := replace(); err == nil || !strings.Contains(out, "hash.seed") {
		t.Errorf("with another seed: %v\n%s", err, out)
	}
	if lapsed := gap(); lapsed != 0 {
		t.Errorf("the lease was over %d times", lapsed)
	}
	if s := statusOf(t, n.NS, n.Instance); s.Agent.PID != pid || !s.Agent.Running || s.Members == nil || s.Members.View.Epoch != before.View.Epoch {
		t.Errorf("after the second: %+v", s)
	}
	in(t, n.NS, shoal, "down", "lab", "--instance", n.Instance)
}

// patientLease is for tests in which nothing is to lapse on a busy machine.
func patientLease(_ int, file string) string { return file + "lease: 500ms\nheartbeat: 20ms\n" }

// watchLease looks at a node's lease again and again; the function it returns
// says how often there was none.
func watchLease(t *testing.T, n *lab.Node) (lapses func() int) {
	t.Helper()
	stop, count := make(chan struct{}), make(chan int)
	paths, err := agent.NewPaths(n.Instance, "lab")
	must(t, err)
	go func() {
		missing := 0
		for {
			select {
			case <-stop:
				count <- missing
				return
			default:
			}
			if s, err := agent.ReadStatus(paths, time.Millisecond); err == nil && !s.Lease.Valid {
				missing++
			}
		}
	}()
	return func() int {
		close(stop)
		return <-count
	}
}

// A new agent that cannot take over changes nothing.
func TestMembersReplaceRefused(t *testing.T) {
	l, _ := startMembers(t, lab.Options{Nodes: 2, NodeConfig: patientLease})
	n := l.Nodes[0]
	before := awaitMembers(t, n, "a view", func(m *heartbeat.Status) bool { return m.View != nil && m.LeaseLeftMS > 0 })
	gap := watchLease(t, n)
	other := filepath.Join(t.TempDir(), "other.yaml")
	text, err := os.ReadFile(n.Config)
	must(t, err)
	must(t, os.WriteFile(other, []byte(strings.Replace(string(text), "buckets: 4096", "buckets: 1024", 1)), 0o600))
	out, err := n.NS.Run(t.Context(), shoal, "up", "--replace", "-c", other, "--instance", n.Instance)
	if err == nil || !strings.Contains(err.Error()+out, "hash.buckets") {
		t.Errorf("got %v, %s", err, out)
	}
	if lapsed := gap(); lapsed != 0 {
		t.Errorf("the lease was over %d times", lapsed)
	}
	if !n.Running() {
		t.Fatal(n.Err())
	}
	after := awaitMembers(t, n, "the old agent answers", func(m *heartbeat.Status) bool { return m.View != nil })
	if after.View.Epoch != before.View.Epoch {
		t.Errorf("another view: %+v", after.View)
	}
	// It is in charge still.
	reload(t, n)
}

func TestMembersReload(t *testing.T) {
	l, _ := startMembers(t, lab.Options{Nodes: 3})

	// Weights: each node tells its own.
	rewrite(t, l.Nodes[0], `name: node1, `, `name: node1, weight: 200, `)
	reload(t, l.Nodes[0])
	awaitMembers(t, l.Nodes[2], "half of the buckets go to node1", func(m *heartbeat.Status) bool { return nodeOf(m, 1).Buckets == 2048 })
	rewrite(t, l.Nodes[1], `name: node2, `, `name: node2, weight: 200, `)
	must(t, l.Nodes[1].Signal(syscall.SIGHUP))
	awaitMembers(t, l.Nodes[2], "node3 has half of what the others have", func(m *heartbeat.Status) bool { return nodeOf(m, 3).Buckets == 819 })

	// What cannot change while the node runs is refused by its name.
	rewrite(t, l.Nodes[1], "seed: 0xdeadbeef", "seed: 1")
	_, err := l.Nodes[1].NS.Run(t.Context(), shoal, "reload", "lab", "--instance", l.Nodes[1].Instance)
	if err == nil || !strings.Contains(err.Error(), "hash.seed: cannot change while the node runs") {
		t.Errorf("got %v", err)
	}
	rewrite(t, l.Nodes[1], "seed: 1", "seed: 0xdeadbeef")

	// A node that the others' files do not list any more is retired.
	line := "  - {id: 3, name: node3"
	for _, n := range l.Nodes[:2] {
		text, err := os.ReadFile(n.Config)
		must(t, err)
		at := strings.Index(string(text), line)
		end := at + strings.Index(string(text)[at:], "\n") + 1
		rewrite(t, n, string(text)[at:end], "")
		reload(t, n)
	}
	awaitMembers(t, l.Nodes[0], "two voters", func(m *heartbeat.Status) bool {
		return slices.Equal(m.View.Voters, []int{1, 2}) && nodeOf(m, 1).Buckets+nodeOf(m, 2).Buckets == 4096
	})
}

// Keys change without a lost lease: all accept the new one, use it, forget the
// old one.
func TestMembersKeys(t *testing.T) {
	const first, second = "the first of two keys", "the second of two keys"
	dir := t.TempDir()
	keyFile := func(node int) string { return filepath.Join(dir, strconv.Itoa(node)) }
	write := func(node int, keys ...string) {
		must(t, os.WriteFile(keyFile(node), []byte(strings.Join(keys, "\n")), 0o600))
	}
	for node := 1; node <= 3; node++ {
		write(node, first)
	}
	l, _ := startMembers(t, lab.Options{Nodes: 3, NodeConfig: func(node int, file string) string {
		return file + "key-file: " + keyFile(node) + "\n"
	}})
	before := members(t, l.Nodes[0])
	for _, keys := range [][]string{{first, second}, {second, first}, {second}} {
		for _, n := range l.Nodes {
			write(n.ID, keys...)
			reload(t, n)
		}
	}
	for _, n := range l.Nodes {
		m := members(t, n)
		if m == nil || m.View.Epoch != before.View.Epoch || m.LeaseLeftMS <= 0 || m.Refused["wrong_key"] > 0 || warned(m, "key") {
			t.Errorf("%s: %+v", n.Name, m)
		}
	}
	// One that goes back to the old key is not heard any more, and it is said
	// who that is.
	write(3, first)
	reload(t, l.Nodes[2])
	awaitMembers(t, l.Nodes[0], "a warning of the wrong key", func(m *heartbeat.Status) bool {
		return m.Refused["wrong_key"] > 0 && warned(m, "node3 (10.77.0.3) on eth1 sends with another key")
	})
	awaitMembers(t, l.Nodes[0], "node3 is put out", func(m *heartbeat.Status) bool { return nodeOf(m, 3).Buckets == 0 })
}

// A node with other settings is not listened to, and both sides name them.
func TestMembersDiffer(t *testing.T) {
	l, _ := startMembers(t, lab.Options{Nodes: 3})
	must(t, l.Nodes[2].Stop(t.Context()))
	rewrite(t, l.Nodes[2], "hash: {seed: 0xdeadbeef", "lease: 200ms\nheartbeat: 20ms\nhash: {seed: 7")
	must(t, l.Nodes[2].Start(t.Context()))
	for _, test := range []struct {
		on, of int
		want   string
	}{
		{1, 3, "node3 has other settings, and is not listened to: `hash.seed`, `lease`"},
		{3, 1, "node1 has other settings, and is not listened to: `hash.seed`, `lease`"},
	} {
		m := awaitMembers(t, l.Nodes[test.on-1], "a warning", func(m *heartbeat.Status) bool { return warned(m, test.want) })
		if got := nodeOf(m, test.of).DiffersIn; !slices.Equal(got, []string{"hash.seed", "lease"}) {
			t.Errorf("on node%d: node%d differs in %q", test.on, test.of, got)
		}
	}
	awaitMembers(t, l.Nodes[0], "the other two share the buckets", func(m *heartbeat.Status) bool {
		return nodeOf(m, 1).Buckets == 2048 && nodeOf(m, 2).Buckets == 2048
	})
	awaitMembers(t, l.Nodes[2], "no lease", func(m *heartbeat.Status) bool { return m.LeaseLeftMS == 0 && warned(m, "no majority") })
}

// A host that takes itself for another node is not believed, and named.
func TestMembersWrongID(t *testing.T) {
	l, _ := startMembers(t, lab.Options{Nodes: 3})
	n := l.Nodes[2]
	must(t, n.Stop(t.Context()))
	rewrite(t, n, "node: 3", "node: 2")
	rewrite(t, n, `"10.77.0.2"`, `"10.77.0.9"`)
	rewrite(t, n, `"10.77.0.3"`, `"10.77.0.2"`)
	rewrite(t, n, `"10.77.0.9"`, `"10.77.0.3"`)
	must(t, n.Start(t.Context()))
	awaitMembers(t, l.Nodes[0], "a warning", func(m *heartbeat.Status) bool {
		return m.Refused["wrong_address"] > 0 && warned(m, "node3 (10.77.0.3) on eth1 sends with the id of another node")
	})
	awaitMembers(t, n, "a warning there", func(m *heartbeat.Status) bool { return m.LeaseLeftMS == 0 && len(m.Warnings) > 0 })
	awaitMembers(t, l.Nodes[0], "the rest goes on", func(m *heartbeat.Status) bool {
		return nodeOf(m, 1).Buckets == 2048 && nodeOf(m, 2).Buckets == 2048 && nodeOf(m, 2).Present
	})
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
	awaitMembers(t, l.Nodes[1], "node1 gives up", func(m *heartbeat.Status) bool {
		return nodeOf(m, 1).Buckets == 0 && nodeOf(m, 2).Buckets == 2048
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
