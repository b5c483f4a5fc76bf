//go:build privileged

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/lab"
)

// A host is a bare node of a lab, on which a test runs shoal as it likes. With
// a gateway's topology it has a second interface, eth2, to the server.
type host struct {
	t        *testing.T
	lab      *lab.Lab
	ns       *lab.Namespace
	instance string
}

func newHost(t *testing.T, topology cluster.Mode) *host {
	t.Helper()
	l := startLab(t, lab.Options{Mode: topology, Nodes: 1, Clients: 4, NoAgents: true})
	h := &host{t, l, l.Nodes[0].NS, l.Nodes[0].Instance}
	// The kernel joins the groups of IPv6 addresses when it gets to it. Both of
	// an interface, link-local and not, have the same one.
	await(t, "the groups of the host's own addresses", func() bool {
		return strings.Count(in(t, h.ns, "ip", "maddress", "show"), "ff02::1:ff00:1 users 2") == len(linksOf(topology))
	})
	t.Cleanup(func() {
		if out, exit := h.run("down"); exit != 0 {
			t.Errorf("shoal down: exit status %d: %s", exit, out)
		}
	})
	return h
}

// file writes a configuration.
func (h *host) file(text string) string {
	h.t.Helper()
	path := filepath.Join(h.t.TempDir(), "cluster.yaml")
	must(h.t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// oneNode is the file of a cluster of which this host is the only node, on one
// interface; more are further keys of the interface.
func oneNode(name, link, addresses, more string) string {
	return fmt.Sprintf("cluster: %s\nmode: backend\nnode: 1\nnodes: [{id: 1}]\ninterfaces: [{name: %s, addresses: [%s]%s}]\n",
		name, link, addresses, more)
}

// addressesOf quotes addresses for a file.
func addressesOf(h *host) string {
	var quoted []string
	for _, a := range h.lab.ClusterAddresses() {
		quoted = append(quoted, fmt.Sprintf("%q", a))
	}
	return strings.Join(quoted, ", ")
}

// up runs shoal up until the test ends, and waits until it serves.
func (h *host) up(file string) *process {
	h.t.Helper()
	return startShoal(h.t, h.ns, "up", "-c", file, "--instance", h.instance)
}

// run runs a command of shoal to its end.
func (h *host) run(command string, args ...string) (output string, exit int) {
	h.t.Helper()
	cmd := exec.Command(shoal, append([]string{command, "--instance", h.instance}, args...)...)
	log := &logbook{}
	cmd.Stdout, cmd.Stderr = log, log
	must(h.t, h.ns.Start(cmd))
	if err := cmd.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		h.t.Fatal(err)
	}
	return log.String(), cmd.ProcessState.ExitCode()
}

// fails runs shoal up, which is to fail at once with an exit status and words.
func (h *host) fails(exit int, file string, words ...string) {
	h.t.Helper()
	p := launch(h.t, h.ns, "up", "-c", file, "--instance", h.instance)
	if got := p.wait(h.t); got != exit {
		h.t.Errorf("exit status %d, want %d:\n%s", got, exit, p.log)
	}
	for _, word := range words {
		if p.log.count(word) == 0 {
			h.t.Errorf("no word of %q:\n%s", word, p.log)
		}
	}
}

// traces lists all that shoal may change on a host.
func (h *host) traces() []string {
	h.t.Helper()
	all := append(h.attached(), h.files()...)
	for _, line := range []string{
		"ip -o address show", "ip maddress show", "bridge fdb show", "ip route show table all", "ip -6 route show table all",
		"ip rule", "nft list tables", "ip -o -d link show",
		// The settings of interfaces, and those of IP; counters and keys come with use.
		"sysctl --all --ignore --pattern ^net.ipv[46]\\.(conf|ip_|icmp|neigh)",
	} {
		words := strings.Fields(line)
		for out := range strings.Lines(in(h.t, h.ns, words[0], words[1:]...)) {
			if !strings.Contains(out, "stable_secret") {
				all = append(all, words[0]+": "+strings.TrimSpace(out))
			}
		}
	}
	return all
}

// attached lists the programs on the host's interfaces.
func (h *host) attached() (all []string) {
	h.t.Helper()
	must(h.t, h.ns.Do(func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			name := l.Attrs().Name
			if xdp := l.Attrs().Xdp; xdp != nil && xdp.Attached {
				all = append(all, fmt.Sprintf("xdp on %s: program %d", name, xdp.ProgId))
			}
			for _, hook := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
				found, err := link.QueryPrograms(link.QueryOptions{Target: l.Attrs().Index, Attach: hook})
				if err != nil {
					return err
				}
				for _, p := range found.Programs {
					id, _ := p.LinkID()
					all = append(all, fmt.Sprintf("%s on %s: program %d by link %d", hook, name, p.ID, id))
				}
			}
		}
		return nil
	}))
	return all
}

const runDir = "/run/shoal"

// files lists what is of this host's instance under /run/shoal, pins included.
func (h *host) files() (all []string) {
	filepath.WalkDir(runDir, func(path string, _ os.DirEntry, err error) error {
		if strings.Contains(path, h.instance) {
			all = append(all, path)
		}
		return nil // what others remove meanwhile is no matter
	})
	return all
}

// links lists the ids of the links on the host's interfaces.
func (h *host) links() []string {
	h.t.Helper()
	pins, err := filepath.Glob(filepath.Join(runDir, "bpf", h.instance, "*", "*", "*gress*"))
	must(h.t, err)
	var all []string
	for _, pin := range pins {
		l, err := link.LoadPinnedLink(pin, nil)
		must(h.t, err)
		info, err := l.Info()
		must(h.t, err)
		l.Close()
		all = append(all, fmt.Sprintf("%s: link %d", strings.TrimPrefix(pin, runDir), info.ID))
	}
	if len(all) < 2 {
		h.t.Fatalf("only %v are pinned", all)
	}
	return all
}

// difference lists what was added to a list, and what was taken from it.
func difference(before, now []string) (changes []string) {
	times := map[string]int{}
	for _, line := range now {
		times[line]++
	}
	for _, line := range before {
		times[line]--
	}
	for _, line := range slices.Sorted(maps.Keys(times)) {
		switch n := times[line]; {
		case n > 0:
			changes = append(changes, "+ "+line)
		case n < 0:
			changes = append(changes, "- "+line)
		}
	}
	return changes
}

// checkNoTraces compares what there is now with what there was.
func (h *host) checkNoTraces(before []string) {
	h.t.Helper()
	if changes := difference(before, h.traces()); len(changes) > 0 {
		h.t.Errorf("not as it was:\n%s", strings.Join(changes, "\n"))
	}
	// Others may be at it: the file system is theirs if anything is in it.
	await(h.t, "the BPF file system to go, unless another cluster is in it", func() bool {
		var dir, parent syscall.Stat_t
		path := filepath.Join(runDir, "bpf")
		if syscall.Stat(path, &dir) != nil || syscall.Stat(runDir, &parent) != nil {
			return true
		}
		entries, err := os.ReadDir(path)
		return err != nil || len(entries) > 0
	})
}
