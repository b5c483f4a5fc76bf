//go:build privileged

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shoal-net/shoal/internal/cluster"
)

// A hearing is who hears whom in a lab of bare nodes.
type hearing struct {
	t     *testing.T
	l     *Lab
	names []string
	hosts map[string]*Namespace
	addrs map[string]netip.Addr
	logs  map[string]*PreroutingLog
}

func newHearing(t *testing.T, o Options) *hearing {
	t.Helper()
	o.NoAgents, o.NoServices, o.Clients, o.Families = true, true, 1, IPv4
	l := start(t, o)
	h := &hearing{t, l, []string{"clients"}, map[string]*Namespace{"clients": l.Clients},
		map[string]netip.Addr{"clients": l.ClientAddresses()[0]}, map[string]*PreroutingLog{}}
	for _, n := range l.Nodes {
		h.names = append(h.names, n.Name)
		h.hosts[n.Name], h.addrs[n.Name] = n.NS, n.Addresses()[0]
	}
	for _, name := range h.names {
		log, err := h.hosts[name].LogPrerouting(LogOptions{Snap: 28})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { log.Close() })
		h.logs[name] = log
	}
	h.deaf() // so that all know each other's MAC
	return h
}

// heard counts which of some datagrams from one host reach another.
func (h *hearing) heard(from, to string, datagrams int) (n int) {
	h.t.Helper()
	const port = 9999
	if err := h.logs[to].Take(func(Logged) {}); err != nil {
		h.t.Fatal(err)
	}
	c, err := h.hosts[from].Dial(h.t.Context(), "udp", netip.AddrPort{}, netip.AddrPortFrom(h.addrs[to], port))
	if err != nil {
		return 0 // there is no way
	}
	defer c.Close()
	for range datagrams {
		c.Write([]byte("x")) // an ICMP error about an earlier one
	}
	// A veth has delivered when the sender goes on, but for what waits for ARP.
	for deadline := time.Now().Add(20 * time.Millisecond); n < datagrams && time.Now().Before(deadline); {
		err := h.logs[to].Take(func(l Logged) {
			source, _ := netip.AddrFromSlice(l.Packet[12:16])
			if l.Packet[9] == protoUDP && l.Packet[22] == port>>8 && l.Packet[23] == port&0xff && source == h.addrs[from] {
				n++
			}
		})
		if err != nil {
			h.t.Fatal(err)
		}
	}
	return n
}

// deaf lists who does not hear whom.
func (h *hearing) deaf() []string {
	h.t.Helper()
	var all []string
	for _, from := range h.names {
		for _, to := range h.names {
			if from != to && h.heard(from, to, 2) == 0 {
				all = append(all, from+">"+to)
			}
		}
	}
	return all
}

func TestLinkFaults(t *testing.T) {
	h := newHearing(t, Options{})
	alone := func(names ...string) (all []string) {
		for _, from := range h.names {
			for _, to := range h.names {
				if from != to && (slices.Contains(names, from) || slices.Contains(names, to)) {
					all = append(all, from+">"+to)
				}
			}
		}
		return all
	}
	for _, test := range []struct {
		name string
		f    Fault
		want []string
	}{
		{"unplug", Fault{Kind: Unplug, Nodes: []int{2}}, alone("node2")},
		{"link down", Fault{Kind: LinkDown, Nodes: []int{3}}, alone("node3")},
		{"power off", Fault{Kind: PowerOff, Nodes: []int{1}}, alone("node1")},
		{"mute", Fault{Kind: Mute, Nodes: []int{2}}, []string{"node2>clients", "node2>node1", "node2>node3"}},
		{"deaf", Fault{Kind: Deaf, Nodes: []int{2}}, []string{"clients>node2", "node1>node2", "node3>node2"}},
		{"partition", Fault{Kind: Partition, Groups: [][]int{{1, 2}, {3}}}, []string{"node1>node3", "node2>node3", "node3>node1", "node3>node2"}},
		{"partition of a pair", Fault{Kind: Partition, Groups: [][]int{{1}, {3}}}, []string{"node1>node3", "node3>node1"}},
		{"partition, clients with one", Fault{Kind: Partition, Groups: [][]int{{1, 2}, {3}}, Clients: 1}, alone("node3")},
		{"loss of all", Fault{Kind: Loss, Percent: 100}, alone(h.names...)},
	} {
		t.Run(test.name, func(t *testing.T) {
			heal, err := h.l.Inject(test.f)
			if err != nil {
				t.Fatal(err)
			}
			got := h.deaf()
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("who does not hear whom: %s", diff)
			}
			if err := heal(t.Context()); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(5 * time.Second); ; { // ARP asks again once a second
				if got = h.deaf(); len(got) == 0 {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("healed, but %v", got)
				}
			}
		})
	}
}

func TestLossIsForEachReceiver(t *testing.T) {
	h := newHearing(t, Options{Nodes: 1})
	heal, err := h.l.Inject(Fault{Kind: Loss, Percent: 30})
	if err != nil {
		t.Fatal(err)
	}
	const sent = 2000 // the count is within 7 standard deviations of what is expected
	if n := h.heard("clients", "node1", sent); n < sent*63/100 || n > sent*77/100 {
		t.Errorf("at 30 %% loss %d of %d arrived", n, sent)
	}
	if err := heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := h.heard("clients", "node1", sent); n != sent {
		t.Errorf("without loss %d of %d arrived", n, sent)
	}
}

// On one side of a gateway only.
func TestFaultOfOneSide(t *testing.T) {
	h := newHearing(t, Options{Nodes: 2, Mode: cluster.Gateway})
	if _, err := h.l.Inject(Fault{Kind: Mute, Nodes: []int{1}, Sides: ServerSide}); err != nil {
		t.Fatal(err)
	}
	if got := h.deaf(); len(got) > 0 {
		t.Errorf("on the client side: %v", got)
	}
	for i, n := range h.l.Nodes {
		h.addrs[n.Name] = n.ServerSideAddresses()[0]
		h.heard("node2", nodeName(i+1), 1)
	}
	if h.heard("node1", "node2", 2) > 0 || h.heard("node2", "node1", 2) > 0 {
		// The latter needs an answer to its ARP request.
		t.Error("on the server side node 1 is heard")
	}
}

// stateOf is the state of a process as in proc(5): S sleeps, T is stopped, Z or
// nothing is gone.
func stateOf(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return rest[:1]
}

func stopped(pid int) bool { return stateOf(pid) == "T" }

func gone(pid int) bool {
	state := stateOf(pid)
	return state == "" || state == "Z"
}

func TestProcessFaults(t *testing.T) {
	t.Setenv("SHOAL_FAKE", "heartbeat")
	l := start(t, Options{Nodes: 2, Clients: 1})
	n := l.Nodes[0]
	for kind, want := range map[FaultKind][2]bool{ // agent, heartbeat process
		KillAgent: {true, false}, KillHeartbeat: {false, true}, KillBoth: {true, true},
		FreezeAgent: {true, false}, FreezeHeartbeat: {false, true}, FreezeBoth: {true, true},
		PowerOff: {true, true},
	} {
		t.Run(kind.String(), func(t *testing.T) {
			pid := n.PID()
			beat, err := n.HeartbeatPID()
			if err != nil {
				t.Fatal(err)
			}
			heal, err := l.Inject(Fault{Kind: kind, Nodes: []int{1}})
			if err != nil {
				t.Fatal(err)
			}
			freezes := kind == FreezeAgent || kind == FreezeHeartbeat || kind == FreezeBoth
			struck := gone
			if freezes {
				struck = stopped
			}
			for deadline := time.Now().Add(5 * time.Second); struck(pid) != want[0] || want[1] && !struck(beat); {
				if time.Now().After(deadline) {
					t.Fatalf("agent %q, heartbeat %q", stateOf(pid), stateOf(beat))
				}
			}
			if want[1] != struck(beat) && freezes {
				t.Errorf("heartbeat process: %q", stateOf(beat))
			}
			if !l.Nodes[1].Running() || stopped(l.Nodes[1].PID()) {
				t.Error("the other node is struck, too")
			}
			if err := heal(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !n.Running() {
				t.Fatal("the agent does not run")
			}
			if kind == KillHeartbeat { // the fake agent starts no other
				if _, err := n.HeartbeatPID(); !errors.Is(err, ErrNoHeartbeat) {
					t.Errorf("a killed heartbeat process: %v", err)
				}
				if heal, err = l.Inject(Fault{Kind: KillAgent, Nodes: []int{1}}); err == nil {
					err = heal(t.Context())
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	checkRestartAll(t, l)
}

func checkRestartAll(t *testing.T, l *Lab) {
	t.Helper()
	pids := []int{l.Nodes[0].PID(), l.Nodes[1].PID()}
	if _, err := l.Inject(Fault{Kind: RestartAll}); err != nil {
		t.Fatal(err)
	}
	for i, n := range l.Nodes {
		if !n.Running() || n.PID() == pids[i] {
			t.Errorf("%s was not started again", n.Name)
		}
	}
}

// A lab can be closed as it is.
func TestCloseUnderFaults(t *testing.T) {
	t.Setenv("SHOAL_FAKE", "heartbeat")
	before := traces(t, labName(t))
	l, err := New(t.Context(), Options{Name: labName(t), Clients: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []Fault{{Kind: FreezeBoth, Nodes: []int{1}}, {Kind: PowerOff, Nodes: []int{2}}, {Kind: KillAgent, Nodes: []int{3}},
		{Kind: Saturate}, {Kind: Loss, Percent: 50}} {
		if _, err := l.Inject(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(before, traces(t, labName(t))); diff != "" {
		t.Error(diff)
	}
}

// The cluster addresses are on one bare node, whose kernel answers.
func TestMonitor(t *testing.T) {
	l := start(t, Options{Nodes: 1, Clients: 4})
	m, err := l.NewMonitor(MonitorOptions{Clients: 4})
	if err != nil {
		t.Fatal(err)
	}
	await := func(since time.Time) time.Time {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if until, ok := m.Steady(since, 50*time.Millisecond); ok {
				return until
			}
		}
		t.Fatal("clients are not served")
		return time.Time{}
	}
	began := time.Now()
	await(began)
	heal, err := l.Inject(Fault{Kind: Mute, Nodes: []int{1}})
	if err != nil {
		t.Fatal(err)
	}
	struck := time.Now()
	for time.Since(struck) < 100*time.Millisecond {
		if _, ok := m.Steady(struck, 50*time.Millisecond); ok {
			t.Fatal("steady without an answer")
		}
	}
	if err := heal(context.Background()); err != nil {
		t.Fatal(err)
	}
	until := await(time.Now())
	gaps := m.Gaps(struck, until)
	for _, g := range gaps {
		if g.Length() < 98*time.Millisecond || g.Before != 1 || g.After != 1 {
			t.Errorf("%+v", g)
		}
	}
	if len(gaps) != len(m.Clients()) || len(gaps) != 8 {
		t.Errorf("%d gaps of %d clients", len(gaps), len(m.Clients()))
	}
	if n := len(m.Doubles(began, until)); n > 0 {
		t.Errorf("%d packets reached two nodes of one", n)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
