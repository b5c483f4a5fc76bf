//go:build privileged

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
)

// awaitStopped waits until all threads of a process are stopped, and returns a
// time after that.
func (p *process) awaitStopped(t *testing.T) time.Time {
	t.Helper()
	await(t, "the agent to be stopped", func() bool {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.cmd.Process.Pid))
		must(t, err)
		for _, task := range tasks {
			data, err := os.ReadFile("/proc/" + task.Name() + "/stat")
			if err != nil {
				return false
			}
			if _, rest, _ := strings.Cut(string(data), ") "); !strings.HasPrefix(rest, "T") {
				return false
			}
		}
		return true
	})
	return time.Now()
}

// checkFenced wants that no cluster packet reaches prerouting a lease after
// the agent was there last, though they keep coming.
func checkFenced(t *testing.T, g *gauge, streams []*stream, gone time.Time) {
	t.Helper()
	end := gone.Add(cluster.DefaultLease)
	await(t, "the lease to end", func() bool { return time.Now().After(end) })
	for _, s := range streams {
		s.awaitSent(t, 5)
	}
	handled := g.total()
	for _, s := range streams {
		s.awaitSent(t, 100)
		if last := s.last(); last.After(end) {
			t.Errorf("%s: a datagram was handled %v after the agent had gone, with a lease of %v", s.what, last.Sub(gone), cluster.DefaultLease)
		} else {
			t.Logf("%s: last handled %v after the agent had gone", s.what, last.Sub(gone).Round(time.Millisecond))
		}
	}
	if more := g.total(); more != handled {
		t.Errorf("%d packets reached prerouting without a lease", more-handled)
	}
}

// leaseHost is a host that serves a cluster, and the streams to it.
func leaseHost(t *testing.T) (h *host, file string, p *process, g *gauge, streams []*stream, own *stream) {
	t.Helper()
	h = newHost(t, cluster.Backend)
	file = h.file(oneNode("web", "eth1", addressesOf(h), ""))
	p = h.up(file)
	g = newGauge(t, "the node", h.ns, beforeDefrag, byClient(h.lab.ClusterAddresses()...)...)
	streams, own = h.clusterStreams(), h.ownStream()
	for _, s := range append(streams, own) {
		s.awaitFlow(t)
	}
	return h, file, p, g, streams, own
}

// An agent that is stopped loses the lease; when it goes on, so does the node.
func TestLifecycleStoppedAgent(t *testing.T) {
	h, _, p, g, streams, own := leaseHost(t)
	conn := openEcho(t, h)
	links := h.links()
	must(t, p.cmd.Process.Signal(syscall.SIGSTOP))
	gone := p.awaitStopped(t)
	checkFenced(t, g, streams, gone)
	if now := h.links(); !slices.Equal(now, links) {
		t.Errorf("pinned: %v, before: %v", now, links)
	}
	must(t, exchangeWord(conn))
	s := statusOf(t, h.ns, h.instance)
	if !s.Agent.Running || s.Lease.Valid || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "no lease") {
		t.Errorf("status of a stopped agent: %+v, %+v, %q", s.Agent, s.Lease, s.Warnings)
	}
	must(t, p.cmd.Process.Signal(syscall.SIGCONT))
	for _, s := range streams {
		s.awaitFlow(t)
	}
	must(t, exchangeWord(conn))
	own.checkComplete(t)
}

// An agent that is killed leaves what it pinned; the next one adopts it.
func TestLifecycleKilledAgent(t *testing.T) {
	h, file, p, g, streams, own := leaseHost(t)
	conn := openEcho(t, h)
	links, before := h.links(), statusOf(t, h.ns, h.instance)
	must(t, p.cmd.Process.Kill())
	p.wait(t)
	gone := time.Now()
	checkFenced(t, g, streams, gone)
	if now := h.links(); !slices.Equal(now, links) {
		t.Errorf("pinned: %v, before: %v", now, links)
	}
	dead := statusOf(t, h.ns, h.instance)
	if dead.Agent.Running || dead.Lease.Valid || len(dead.Warnings) != 1 || !strings.Contains(dead.Warnings[0], "not running") {
		t.Errorf("status of a killed agent: %+v, %+v, %q", dead.Agent, dead.Lease, dead.Warnings)
	}
	again := time.Now()
	next := h.up(file)
	for _, s := range streams {
		s.awaitFlow(t)
		if n := s.handled(gone.Add(cluster.DefaultLease), again); n > 0 {
			t.Errorf("%s: %d datagrams were handled while there was no agent", s.what, n)
		}
	}
	if next.log.count("adopted the pinned data plane") != 1 {
		t.Error("the next agent did not adopt what was pinned")
	}
	if now := h.links(); !slices.Equal(now, links) {
		t.Errorf("the next agent made other links: %v, before: %v", now, links)
	}
	after := statusOf(t, h.ns, h.instance)
	for name, n := range before.Interfaces[0].Counters {
		if now := after.Interfaces[0].Counters[name]; now < n {
			t.Errorf("counter %s went from %d to %d", name, n, now)
		}
	}
	if !after.Agent.Running || !after.Lease.Valid || len(after.Warnings) > 0 {
		t.Errorf("status of the next agent: %+v, %+v, %q", after.Agent, after.Lease, after.Warnings)
	}
	must(t, exchangeWord(conn))
	own.checkComplete(t)
}

// openEcho connects to a service at the host's own address that sends back what
// it gets.
func openEcho(t *testing.T, h *host) net.Conn {
	t.Helper()
	own := netip.AddrPortFrom(h.lab.Nodes[0].Addresses()[0], 9201)
	l, err := h.ns.Listen("tcp", own.String())
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		if c, err := l.Accept(); err == nil {
			io.Copy(c, c)
		}
	}()
	c, err := h.lab.Clients.Dial(timeout(patience), "tcp", netip.AddrPort{}, own)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// status is also a table for people.
func TestLifecycleStatusTable(t *testing.T) {
	h := newHost(t, cluster.Backend)
	if out, exit := h.run("status"); exit != 0 || !strings.Contains(out, "no cluster here") {
		t.Errorf("status of nothing: exit status %d, %q", exit, out)
	}
	p := h.up(h.file(oneNode("web", "eth1", addressesOf(h), "")))
	check := func(words ...string) {
		t.Helper()
		out, exit := h.run("status", "--interval", "20ms")
		if exit != 0 {
			t.Errorf("exit status %d", exit)
		}
		for _, word := range append(words, "cluster web, mode backend, node 1", "eth1: client side, attached tcx, l2 unicast",
			"4096: 4096 owned", "answer_arp") {
			if !strings.Contains(out, word) {
				t.Errorf("no %q in:\n%s", word, out)
			}
		}
	}
	_, err := datagram(h.lab, h.lab.ClientAddresses()[0], h.lab.ClusterAddresses()[0], 10)
	must(t, err)
	check("agent   running, process", "ms left, epoch", "handle_owned")
	must(t, p.cmd.Process.Signal(syscall.SIGSTOP))
	gone := p.awaitStopped(t)
	await(t, "the lease to end", func() bool { return time.Since(gone) > cluster.DefaultLease })
	check("agent   running, process", "lease   none", "WARNING no lease: this node handles nothing")
	must(t, p.cmd.Process.Kill())
	p.wait(t)
	check("agent   not running (was process", "lease   none", "WARNING the agent (process")
}
