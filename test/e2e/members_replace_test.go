//go:build privileged

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/heartbeat"
	"github.com/shoal-net/shoal/internal/lab"
)

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
	log := &logbook{}
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

// An agent that has let go of the data plane, and cannot get it back, ends when it
// is asked to, and says what is left.
func TestMembersReplaceLost(t *testing.T) {
	l, _ := startMembers(t, lab.Options{Nodes: 2})
	n, other := l.Nodes[0], l.Nodes[1]
	awaitMembers(t, n, "buckets", func(m *heartbeat.Status) bool { return m.LeaseLeftMS > 0 })
	pins, err := os.Open(filepath.Join(runDir, "bpf", n.Instance, "lab"))
	must(t, err)
	taken := make(chan error, 1)
	go func() { taken <- unix.Flock(int(pins.Fd()), unix.LOCK_EX) }() // waits for the old agent
	if out, err := n.NS.Run(t.Context(), shoal, "up", "--replace", "-c", n.Config, "--instance", n.Instance); err == nil {
		t.Fatalf("the new agent took over: %s", out)
	}
	must(t, <-taken)
	must(t, syscall.Kill(statusOf(t, n.NS, n.Instance).Agent.PID, syscall.SIGTERM))
	await(t, "the end of the agent", func() bool { return !n.Running() })
	if err := n.Err(); err == nil || !strings.Contains(err.Error(), "shoal down") {
		t.Errorf("the agent ended with %v", err)
	}
	awaitMembers(t, other, "all buckets", func(m *heartbeat.Status) bool { return m.LeaseLeftMS > 0 && nodeOf(m, 1).Buckets == 0 })
	pins.Close()
	in(t, n.NS, shoal, "down", "lab", "--instance", n.Instance)
}
