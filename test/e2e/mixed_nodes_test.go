//go:build privileged

package e2e

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/lab"
)

// What the manual page's recipe and shoal have in common.
const (
	sharedMAC1 = "01:00:5e:00:01:01" // on eth1
	sharedMAC2 = "01:00:5e:00:01:02" // on eth2
	hashSeed   = "0xdeadbeef"
)

// shared are the MAC and the address of the cluster on each link.
var shared = map[string]struct{ mac, address string }{
	"eth1": {sharedMAC1, "10.77.0.100"},
	"eth2": {sharedMAC2, "10.78.0.100"},
}

// linksOf lists the interfaces of a node.
func linksOf(mode cluster.Mode) []string {
	if mode == cluster.Gateway {
		return []string{"eth1", "eth2"}
	}
	return []string{"eth1"}
}

// setUpOld makes a bare node of a lab a node by the manual page: the cluster
// match, marks, and ARP rewritten.
func setUpOld(t *testing.T, n *lab.Node, mode cluster.Mode) {
	t.Helper()
	run := func(line string, args ...any) {
		t.Helper()
		words := strings.Fields(fmt.Sprintf(line, args...))
		in(t, n.NS, words[0], words[1:]...)
	}
	for _, link := range linksOf(mode) {
		run("iptables -A PREROUTING -t mangle -i %s -m cluster --cluster-total-nodes 2 --cluster-local-node %d "+
			"--cluster-hash-seed %s -j MARK --set-mark 0xffff", link, n.ID, hashSeed)
	}
	for _, link := range linksOf(mode) {
		mac, own := shared[link].mac, ownMAC(t, n, link)
		run("iptables -A PREROUTING -t mangle -i %s -m mark ! --mark 0xffff -j DROP", link)
		run("ip maddr add %s dev %s", mac, link)
		run("arptables -A OUTPUT -o %s --h-length 6 -j mangle --mangle-mac-s %s", link, mac)
		run("arptables -A INPUT -i %s --h-length 6 --destination-mac %s -j mangle --mangle-mac-d %s", link, mac, own)
		run("ip address add %s/32 dev %s", shared[link].address, link)
	}
	must(t, n.NS.Sysctl("netfilter/nf_conntrack_tcp_loose", "0"))
}

// setUpNew runs shoal in the match's form on a bare node of a lab.
func setUpNew(t *testing.T, n *lab.Node, mode cluster.Mode, more ...string) *process {
	t.Helper()
	args := []string{"up", "--instance", n.Instance, "--cluster-total-nodes", "2", "--cluster-local-node", fmt.Sprint(n.ID),
		"--cluster-hash-seed", hashSeed}
	for _, link := range linksOf(mode) {
		spec := fmt.Sprintf("%s,mac=%s,address=%s", link, shared[link].mac, shared[link].address)
		if link == "eth2" {
			spec += ",side=server"
		}
		args = append(args, "-i", spec)
	}
	return startShoal(t, n.NS, append(args, more...)...)
}

// A process is a run of the binary.
type process struct {
	cmd   *exec.Cmd
	log   *logbook // both outputs
	ended chan struct{}
}

// launch starts the binary in a namespace, or in this one if ns is nil. It is
// ended with the test.
func launch(t *testing.T, ns *lab.Namespace, args ...string) *process {
	t.Helper()
	p := &process{exec.Command(shoal, args...), &logbook{}, make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	start := p.cmd.Start
	if ns != nil {
		start = func() error { return ns.Start(p.cmd) }
	}
	must(t, start())
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			t.Logf("shoal %s:\n%s", strings.Join(args, " "), p.log)
		}
	})
	return p
}

// startShoal runs shoal up until the test ends, and waits until it serves.
func startShoal(t *testing.T, ns *lab.Namespace, args ...string) *process {
	t.Helper()
	p := launch(t, ns, args...)
	await(t, "shoal to serve", func() bool {
		select {
		case <-p.ended:
			t.Fatalf("shoal %s: %v", strings.Join(args, " "), p.cmd.ProcessState)
		default:
		}
		return p.log.count("msg=serving") > 0
	})
	return p
}

// stop ends the process in order.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.cmd.Process.Signal(syscall.SIGCONT)
	p.wait(t)
}

// wait waits until the process has ended, and returns its exit status.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Error(errors.New("shoal does not end: killed"))
		p.cmd.Process.Kill()
		<-p.ended
	}
	return p.cmd.ProcessState.ExitCode()
}
