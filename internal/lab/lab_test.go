//go:build privileged

package lab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/vishvananda/netlink"
)

func TestBuildAndRemove(t *testing.T) {
	for _, test := range []struct {
		name string
		o    Options
	}{
		{"backend", Options{NoAgents: true}},
		{"agents", Options{Nodes: 2}},
		{"gateway", Options{Mode: cluster.Gateway, NoAgents: true}},
		{"routed", Options{RouterMTU: 1400, NoAgents: true}},
		{"routed-gateway", Options{Mode: cluster.Gateway, RouterMTU: 1400, NoAgents: true}},
		{"v6-snooping", Options{Families: IPv6, Snooping: true, MTU: 9000, NoAgents: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.o.Name = labName(t)
			before := traces(t, test.o.Name)
			began := time.Now()
			l, err := New(t.Context(), test.o)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("built in %v", time.Since(began))
			if cmp.Equal(before, traces(t, test.o.Name)) {
				t.Error("a lab leaves no traces even while it is there: the test sees nothing")
			}
			began = time.Now()
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			t.Logf("closed in %v", time.Since(began))
			if diff := cmp.Diff(before, traces(t, test.o.Name)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBuildsInTwoSeconds(t *testing.T) {
	began := time.Now()
	start(t, Options{Nodes: 3, Clients: 200})
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("three nodes and 200 clients took %v", took)
	}
}

func TestCancelAtAnyTimeLeavesNothing(t *testing.T) {
	name := labName(t)
	before := traces(t, name)
	cancelled := 0
	for after := time.Duration(0); ; after += 3 * time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		l, err := New(ctx, Options{Name: name, Nodes: 2, Clients: 50})
		cancel()
		if err == nil {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		} else if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		} else {
			cancelled++
		}
		if diff := cmp.Diff(before, traces(t, name)); diff != "" {
			t.Fatalf("after %v: %s", after, diff)
		}
		if err == nil {
			break
		}
	}
	if cancelled < 5 {
		t.Errorf("only %d builds were cut off", cancelled)
	}
}

func TestCrashThenCleanLeavesNothing(t *testing.T) {
	name := labName(t)
	name = "x" + name[:len(name)-1]
	before := traces(t, name)
	crash(t, name)
	if _, err := os.Stat(pinOf("lab-" + name + "-node2")); err != nil {
		t.Error("the killed agent left nothing: the test sees nothing: ", err)
	}
	if _, err := New(t.Context(), Options{Name: name}); err == nil || !strings.Contains(err.Error(), "shoal lab clean") {
		t.Errorf("a new lab of the same name: %v, want a hint at shoal lab clean", err)
	}
	alive := start(t, Options{Nodes: 1, Clients: 1})
	cleaned, err := Clean(t.Context(), "/proc/self/exe")
	if err != nil {
		t.Error(err)
	}
	if !slices.Contains(cleaned, name) || slices.Contains(cleaned, alive.plan.Name) {
		t.Errorf("cleaned %q, want %q and not %q, which is alive", cleaned, name, alive.plan.Name)
	}
	if !alive.Nodes[0].Running() {
		t.Error("cleaning ended the agent of a lab that is alive")
	}
	if err := alive.Close(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(before, traces(t, name)); diff != "" {
		t.Error(diff)
	}
}

// Of a lab whose directory is gone only its agents' traces tell.
func TestCleanFindsStrays(t *testing.T) {
	name := labName(t)
	start(t, Options{Name: name, Nodes: 1, Clients: 1})
	for lab, stray := range map[string]bool{name: false, name + "-x": true} {
		instance := "lab-" + lab + "-node7"
		for _, dir := range []string{"/run/shoal/state", memoryDir} {
			dir = filepath.Join(dir, instance)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
		}
		if err := os.WriteFile(pinOf(instance), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(pinOf(instance)) })
		cleaned, err := Clean(t.Context(), "/proc/self/exe")
		if err != nil || slices.Contains(cleaned, lab) != stray {
			t.Errorf("cleaned %q, %v; %s is a stray: %v", cleaned, err, lab, stray)
		}
		for _, path := range []string{pinOf(instance), filepath.Join(memoryDir, instance)} {
			if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) != stray {
				t.Errorf("%s: %v, a stray: %v", path, err, stray)
			}
		}
	}
}

func TestAgentThatFails(t *testing.T) {
	for fake, want := range map[string]string{"fails": "no such feature", "silent": "will not get ready"} {
		t.Run(fake, func(t *testing.T) {
			t.Setenv("SHOAL_FAKE", fake)
			name := labName(t)
			before := traces(t, name)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := New(ctx, Options{Name: name, Nodes: 2, Clients: 1})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want the agent's last words %q", err, want)
			}
			if diff := cmp.Diff(before, traces(t, name)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNodeLife(t *testing.T) {
	l := start(t, Options{Nodes: 1, Clients: 1})
	n := l.Nodes[0]
	pin := pinOf(n.Instance)
	check := func(step string, err error, running, pinned bool) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		_, statErr := os.Stat(pin)
		if n.Running() != running || (statErr == nil) != pinned {
			t.Errorf("%s: running %v, pinned %v; want %v, %v", step, n.Running(), statErr == nil, running, pinned)
		}
	}
	check("new", nil, true, true)
	check("kill", n.Kill(), false, true)
	check("down", n.Down(t.Context()), false, false)
	removeClusterAddresses(t, n)
	check("start", n.Start(t.Context()), true, true)
	check("stop", n.Stop(t.Context()), false, false)
	check("stop again", n.Stop(t.Context()), false, false)
}

// Whoever stops an agent may find it killed, at any time from the signal until
// its end is known.
func TestStopAfterKill(t *testing.T) {
	l := start(t, Options{Nodes: 1, Clients: 1})
	n := l.Nodes[0]
	for turn := range 30 {
		if err := n.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); time.Since(began) < time.Duration(turn)*50*time.Microsecond; {
		}
		if err := n.Stop(t.Context()); err != nil || n.Running() {
			t.Fatalf("turn %d: running %v, %v", turn, n.Running(), err)
		}
		if err := errors.Join(n.Kill(), n.Down(t.Context()), n.Start(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
}

func removeClusterAddresses(t *testing.T, n *Node) {
	t.Helper()
	link, err := n.NS.Netlink().LinkByName(clientEth)
	if err != nil {
		t.Fatal(err)
	}
	for _, vip := range clientSegment.hosts(IPv4|IPv6, hostVIP) {
		if err := n.NS.Netlink().AddrDel(link, address(netip.PrefixFrom(vip, vip.BitLen()))); err != nil {
			t.Fatal(err)
		}
	}
}

func TestProbeOneNode(t *testing.T) {
	for name, o := range map[string]Options{
		"backend":        {},
		"gateway":        {Mode: cluster.Gateway},
		"routed-backend": {RouterMTU: 1400},
		"routed-gateway": {RouterMTU: 1400, Mode: cluster.Gateway},
	} {
		t.Run(name, func(t *testing.T) {
			o.Nodes, o.Clients = 1, 20
			l := start(t, o)
			r, err := l.Probe(t.Context(), ProbeOptions{Rounds: 2, Interval: 300 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			if want := int64(2 * 40 * 4); r.Requests != want || !r.OK() || r.Unknown != 0 {
				t.Errorf("%+v: want %d requests, all once, from a known node", r.Counts, want)
			}
			if n := r.Nodes[0]; n.Clients != 40 || n.Requests != r.Requests || n.Kinds[Ping] != 80 || n.P50 <= 0 {
				t.Errorf("node: %+v", n)
			}
			if t.Failed() {
				t.Log(r.Table())
			}
		})
	}
}

func TestProbeDeadNode(t *testing.T) {
	l := start(t, Options{Nodes: 1, Clients: 2, NoAgents: true})
	r, err := l.Probe(t.Context(), ProbeOptions{Rounds: 1, Interval: 100 * time.Millisecond, Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if r.Requests != 16 || r.None != 16 || r.OK() || len(r.Faults) != 16 {
		t.Errorf("%+v with %d faults, want 16 unanswered", r.Counts, len(r.Faults))
	}
}

func TestProbeDoubleAnswer(t *testing.T) {
	l := start(t, Options{Nodes: 1, Clients: 3, NoServices: true})
	c, err := l.Nodes[0].NS.ListenPacket("udp4", "10.77.0.100:7000")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			answer := append([]byte("twin "), buf[:n]...)
			c.WriteTo(answer, from)
			c.WriteTo(answer, from)
		}
	}()
	r, err := l.Probe(t.Context(), ProbeOptions{Kinds: []Kind{UDP}, Rounds: 1, Interval: 100 * time.Millisecond, Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if r.Requests != 6 || r.Twice != 3 || r.None != 3 || r.Overlaps != 0 {
		t.Errorf("%+v: want three answered twice over IPv4, three unanswered over IPv6", r.Counts)
	}
}

// Two nodes that both hold the address, and clients that send to a multicast
// MAC, which both take: everything is answered twice.
func TestProbeSeesTwoNodes(t *testing.T) {
	l := start(t, Options{Nodes: 2, Clients: 3, Families: IPv4})
	link, err := l.Clients.Netlink().LinkByName(leafEth)
	if err == nil {
		err = l.Clients.Netlink().NeighAdd(&netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT,
			IP: l.ClusterAddresses()[0].AsSlice(), HardwareAddr: net.HardwareAddr{0x01, 0x00, 0x5e, 0x00, 0x01, 0x01}})
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.Probe(t.Context(), ProbeOptions{Kinds: []Kind{UDP, Ping}, Rounds: 1, Interval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if r.Requests != 6 || r.Twice != 6 || r.Overlaps != 6 {
		t.Errorf("%+v: want six of six answered twice, by two nodes", r.Counts)
		t.Log(r.Table())
	}
}
