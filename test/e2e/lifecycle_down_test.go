//go:build privileged

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/shoal-net/shoal/internal/cluster"
)

// The ways that a node's run can end. Each is to leave nothing.
var endings = []struct {
	name string
	end  func(h *host, p *process)
}{
	{"SIGTERM", func(h *host, p *process) { h.signal(p, syscall.SIGTERM) }},
	{"SIGINT", func(h *host, p *process) { h.signal(p, syscall.SIGINT) }},
	{"SIGHUP", func(h *host, p *process) { h.signal(p, syscall.SIGHUP) }},
	{"down of a running agent", func(h *host, p *process) { h.down(); p.wait(h.t) }},
	{"down of a killed agent", func(h *host, p *process) {
		must(h.t, p.cmd.Process.Kill())
		p.wait(h.t)
		h.links() // are still pinned
		h.down()
	}},
	{"down of a stopped agent", func(h *host, p *process) {
		must(h.t, p.cmd.Process.Signal(syscall.SIGSTOP))
		p.awaitStopped(h.t)
		h.down()
		p.wait(h.t)
	}},
}

// signal ends a process in order, by a signal.
func (h *host) signal(p *process, sig syscall.Signal) {
	h.t.Helper()
	must(h.t, p.cmd.Process.Signal(sig))
	if exit := p.wait(h.t); exit != 0 {
		h.t.Errorf("exit status %d after %v", exit, sig)
	}
}

func (h *host) down() {
	h.t.Helper()
	if out, exit := h.run("down"); exit != 0 || !strings.Contains(out, " is down") {
		h.t.Errorf("shoal down: exit status %d, %q", exit, out)
	}
}

// richGateway uses all that changes a host: both families, joined groups and
// filtered MACs, XDP and TCX, forwarding, connection tracking.
const richGateway = `
cluster: rich
mode: gateway
node: 1
nodes: [{id: 1}, {id: 2}]
hash: {key: original}
interfaces:
  - {name: eth1, side: client, addresses: [10.77.0.100, "fd77::100", "fe80::100"], l2: igmp, attach: native}
  - {name: eth2, side: server, addresses: [10.78.0.100, "fd78::100"], l2: multicast, attach: generic}
`

// plainBackend is what a small installation has.
func plainBackend(h *host) string { return oneNode("plain", "eth1", addressesOf(h), "") }

// harden sets the sysctls that a cluster changes to what it can't do with.
func (h *host) harden() {
	h.t.Helper()
	for _, setting := range []string{
		"ipv4/conf/all/forwarding=0", "ipv6/conf/all/forwarding=0",
		"ipv4/conf/all/drop_unicast_in_l2_multicast=1",
		"ipv4/conf/eth1/drop_unicast_in_l2_multicast=1", "ipv6/conf/eth1/drop_unicast_in_l2_multicast=1",
		"ipv4/conf/eth2/drop_unicast_in_l2_multicast=1", "ipv6/conf/eth2/drop_unicast_in_l2_multicast=1",
		"ipv6/conf/eth1/accept_ra=1", "ipv6/conf/eth2/accept_ra=1",
	} {
		key, value, _ := strings.Cut(setting, "=")
		must(h.t, h.ns.Sysctl(key, value))
	}
}

func TestLifecycleEndLeavesNothing(t *testing.T) {
	for _, ending := range endings {
		t.Run(ending.name, func(t *testing.T) {
			h := newHost(t, cluster.Gateway)
			h.harden()
			before := h.traces()
			for _, file := range []string{richGateway, plainBackend(h)} {
				p := h.up(h.file(file))
				if during := h.traces(); len(during) < len(before)+10 {
					t.Errorf("%d traces while it runs, %d before: too few to show anything", len(during), len(before))
				}
				ending.end(h, p)
				h.checkNoTraces(before)
			}
		})
	}
}

// Where something is in the way, nothing is left of what was done before it
// was found.
func TestLifecycleFailedUpLeavesNothing(t *testing.T) {
	rich := func(old, new string) string { return strings.Replace(richGateway, old, new, 1) }
	for _, c := range []struct {
		name    string
		prepare string // a command on the host
		file    string
		exit    int
		words   []string
	}{
		{"second interface missing", "true", rich("name: eth2", "name: eth9"), 1,
			[]string{"eth9: no such interface"}},
		{"address is the host's own", "ip address add 10.78.0.100/16 dev eth2", richGateway, 1,
			[]string{"add 10.78.0.100 to eth2: eth2 has it already, as an address of this host's own (10.78.0.100/16)", "ip address del"}},
		{"IPv6 address is the host's own", "ip address add fd78::100/64 dev eth2 nodad", richGateway, 1,
			[]string{"add fd78::100 to eth2: eth2 has it already"}},
		{"unknown key in the file", "true", rich("side: server", "sides: server"), 2, []string{"cluster.yaml:9:", "sides"}},
		{"MAC that does not fit", "true", rich("l2: multicast", "l2: multicast, mac: 02:bf:00:00:00:01"), 2,
			[]string{"cluster.yaml:9:", "02:bf:00:00:00:01 is a unicast address"}},
		{"no interface of that kind", "true", rich("name: eth2", "name: lo"), 1, []string{"lo is not Ethernet"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, cluster.Gateway)
			h.harden()
			words := strings.Fields(c.prepare)
			in(t, h.ns, words[0], words[1:]...)
			before := h.traces()
			h.fails(c.exit, h.file(c.file), c.words...)
			h.checkNoTraces(before)
		})
	}
}

func TestLifecycleNoSuchFile(t *testing.T) {
	h := newHost(t, cluster.Backend)
	before := h.traces()
	h.fails(2, "/nonexistent/cluster.yaml", "/nonexistent/cluster.yaml")
	h.checkNoTraces(before)
}

// The second agent of one cluster, and the second cluster on one interface:
// the first is not disturbed.
func TestLifecycleInterfaceTaken(t *testing.T) {
	h := newHost(t, cluster.Gateway)
	file := h.file(oneNode("web", "eth1", addressesOf(h), ""))
	p := h.up(file)
	streams := h.clusterStreams()
	streams[0].awaitFlow(t)
	before := h.traces()
	h.fails(1, file, "another shoal process runs this cluster here")
	h.checkNoTraces(before)
	other := "cluster: db\nmode: backend\nnode: 1\nnodes: [{id: 1}]\ninterfaces:\n" +
		"  - {name: eth2, addresses: [10.78.0.100]}\n  - {name: eth1, addresses: [10.77.0.101], l2: multicast}\n"
	h.fails(1, h.file(other), "eth1: another shoal cluster has this interface, and each needs interfaces of its own")
	h.checkNoTraces(before)
	for _, s := range streams {
		s.awaitFlow(t)
		s.checkComplete(t)
	}
	h.signal(p, syscall.SIGTERM)
}

// An XDP program that is not shoal's is an error where XDP is asked for, and
// stays where it is not.
func TestLifecycleForeignXDP(t *testing.T) {
	h := newHost(t, cluster.Backend)
	foreign := h.attachForeign()
	before := h.traces()
	for _, attach := range []string{"native", "generic"} {
		h.fails(1, h.file(oneNode("web", "eth1", addressesOf(h), ", attach: "+attach)),
			"another XDP program sits on this interface; remove it, or use `attach: tcx`")
		h.checkNoTraces(before)
	}
	p := h.up(h.file(oneNode("web", "eth1", addressesOf(h), ", attach: auto")))
	if mode := statusOf(t, h.ns, h.instance).Interfaces[0].Mode; mode != "tcx" {
		t.Errorf("attached %s, want tcx", mode)
	}
	for _, s := range h.clusterStreams() {
		s.awaitFlow(t)
	}
	want := fmt.Sprintf("xdp on eth1: program %d", foreign)
	if now := h.attached(); !slices.Contains(now, want) {
		t.Errorf("%s is gone: %v", want, now)
	}
	h.signal(p, syscall.SIGTERM)
	h.checkNoTraces(before)
}

// attachForeign puts an XDP program of somebody else's on eth1 and returns its id.
func (h *host) attachForeign() (id ebpf.ProgramID) {
	h.t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "foreign", Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}}) // XDP_PASS
	must(h.t, err)
	h.t.Cleanup(func() { prog.Close() })
	must(h.t, h.ns.Do(func() error {
		eth1, err := netlink.LinkByName("eth1")
		if err != nil {
			return err
		}
		l, err := link.AttachXDP(link.XDPOptions{Program: prog, Interface: eth1.Attrs().Index})
		if err == nil {
			h.t.Cleanup(func() { l.Close() })
		}
		return err
	}))
	info, err := prog.Info()
	must(h.t, err)
	id, _ = info.ID()
	return id
}
