//go:build privileged

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/shoal-net/shoal/internal/cluster"
)

// A namespace that a cluster is not in can neither take its programs away nor
// take them over: its addresses would stay where they are, without them.
func TestLifecycleOtherNamespace(t *testing.T) {
	h := newHost(t, cluster.Backend)
	file := h.file(plainBackend(h))
	p := h.up(file)
	must(t, p.cmd.Process.Kill())
	p.wait(t)
	links := h.links()

	other := *h
	other.ns = h.lab.Switch
	if out, exit := other.run("down"); exit != 1 {
		t.Errorf("shoal down elsewhere: exit status %d, %q", exit, out)
	}
	other.fails(1, file, "started in another network namespace", "--instance")
	if now := h.links(); !slices.Equal(links, now) {
		t.Errorf("links were %v, are %v", links, now)
	}
	h.down()
}

// Where the interfaces are gone only files are left, as when a namespace is
// gone: any other may remove them.
func TestLifecycleVanishedInterfaces(t *testing.T) {
	h := newHost(t, cluster.Backend)
	p := h.up(h.file(plainBackend(h)))
	must(t, p.cmd.Process.Kill())
	p.wait(t)
	must(t, h.ns.Netlink().LinkDel(h.link("eth1")))
	other := *h
	other.ns = h.lab.Switch
	other.down()
	if left := h.files(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// What an agent wrote down is lost: the data plane still knows the addresses.
func TestLifecycleStateLost(t *testing.T) {
	h := newHost(t, cluster.Backend)
	before := h.traces()
	state := filepath.Join("/run/shoal/state", h.instance, "plain.json")
	for _, damage := range []func() error{
		func() error { return os.Remove(state) },
		func() error { return os.WriteFile(state, []byte("{"), 0o600) },
	} {
		p := h.up(h.file(plainBackend(h)))
		must(t, p.cmd.Process.Kill())
		p.wait(t)
		must(t, damage())
		if out, exit := h.run("down"); exit != 0 {
			t.Logf("exit status %d: %s", exit, out)
			must(t, os.Remove(state)) // as that says
			h.down()
		}
		h.checkNoTraces(before)
	}
}

// An interface that is given another name while the node runs takes the
// cluster's addresses along. They go when the node does.
func TestLifecycleRenamed(t *testing.T) {
	h := newHost(t, cluster.Backend)
	before := h.traces()
	p := h.up(h.file(plainBackend(h)))
	rename := func(from, to string) {
		t.Helper()
		must(t, h.ns.Netlink().LinkSetName(h.link(from), to))
	}
	rename("eth1", "lan0")
	await(t, "the missing interface in the log", func() bool { return p.log.count("eth1: no such interface") > 0 })
	h.signal(p, syscall.SIGTERM)
	for _, addr := range h.lab.ClusterAddresses() {
		addrs, err := h.ns.Netlink().AddrList(h.link("lan0"), netlink.FAMILY_ALL)
		must(t, err)
		for _, a := range addrs {
			if a.IP.String() == addr.String() {
				t.Errorf("%s stayed", addr)
			}
		}
	}
	rename("lan0", "eth1")
	h.checkNoTraces(before)
}

// Without its programs a node would answer everybody: they are put back.
func TestLifecycleProgramsTakenAway(t *testing.T) {
	h := newHost(t, cluster.Backend)
	p := h.up(h.file(plainBackend(h)))
	streams := h.clusterStreams()
	pins := filepath.Join("/run/shoal/bpf", h.instance, "plain", "eth1")
	for _, pin := range []string{"ingress-tcx", "egress"} {
		said := p.log.count("somebody took the programs away")
		must(t, os.Remove(filepath.Join(pins, pin)))
		await(t, pin+" is put back", func() bool {
			_, err := os.Stat(filepath.Join(pins, pin))
			return p.log.count("somebody took the programs away") > said && err == nil
		})
		for _, s := range streams {
			s.awaitFlow(t)
		}
	}
	if c := statusOf(t, h.ns, h.instance).Interfaces[0].Counters; c["drop_no_lease"]+c["drop_sent_no_lease"] > 0 {
		t.Errorf("the lease ran out while programs were put back: %v", c)
	}
	h.signal(p, syscall.SIGTERM)
}
