//go:build privileged

package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/lab"
	"golang.org/x/sys/unix"
)

// A trafficTest is one kind of traffic on a site. It leaves the site as it was,
// but for what the hosts know of each other.
type trafficTest struct {
	name string
	run  func(*testing.T, *site)
}

func (s *site) run(t *testing.T, groups ...[]trafficTest) {
	for _, test := range slices.Concat(groups...) {
		t.Run(test.name, func(t *testing.T) { test.run(t, s) })
	}
}

// eachSize runs a test on clusters of several sizes.
func eachSize(t *testing.T, mode cluster.Mode, o lab.Options, run func(*testing.T, *site)) {
	for _, nodes := range []int{2, 3, 5} {
		o.Mode, o.Nodes = mode, nodes
		onSite(t, fmt.Sprintf("%d nodes", nodes), o, run)
	}
}

// eachWay runs a test in every way to attach and to reach all nodes.
func eachWay(t *testing.T, mode cluster.Mode, o lab.Options, run func(*testing.T, *site)) {
	for _, attach := range []cluster.Attach{cluster.AttachNative, cluster.AttachGeneric, cluster.AttachTCX} {
		for _, l2 := range []cluster.L2{cluster.Unicast, cluster.Multicast, cluster.IGMP} {
			o.Mode, o.Nodes, o.Attach, o.L2 = mode, 3, attach, l2
			o.Snooping = l2 == cluster.IGMP
			onSite(t, fmt.Sprintf("%s %s", attach, l2), o, run)
		}
	}
}

func onSite(t *testing.T, name string, o lab.Options, run func(*testing.T, *site)) {
	t.Run(name, func(t *testing.T) {
		s := newSite(t, o)
		s.warmUp(t)
		run(t, s)
	})
}

func TestBackend(t *testing.T) {
	all := func(t *testing.T, s *site) { s.run(t, basicTraffic, ownTraffic, resolution, neighbourTraffic) }
	eachSize(t, cluster.Backend, lab.Options{}, all)
	eachWay(t, cluster.Backend, lab.Options{}, all)
}

// Nodes that hash with different seeds handle some clients twice and some not
// at all: what the other tests go by must show both.
func TestObservationSeesFaults(t *testing.T) {
	otherSeed := func(node int, file string) string {
		if node == 2 {
			file = strings.Replace(file, "0xdeadbeef", "0x12345678", 1)
		}
		return file
	}
	for _, mode := range []cluster.Mode{cluster.Backend, cluster.Gateway} {
		t.Run(mode.String(), func(t *testing.T) {
			s := newSite(t, lab.Options{Mode: mode, Nodes: 2, NodeConfig: otherSeed})
			s.reset(t)
			port := s.nextPort()
			for _, client := range s.ClientAddresses() {
				c, err := s.Clients.Dial(t.Context(), "udp", netip.AddrPortFrom(client, port), netip.AddrPortFrom(s.target(client), lab.EchoPort))
				must(t, err)
				defer c.Close()
				_, err = c.Write([]byte("anybody?"))
				must(t, err)
			}
			s.checkSeen(t, clientPort(unix.IPPROTO_UDP, port))
		})
	}
}

// checkSeen fails the test if not all kinds of requests were seen: those handled
// by two nodes, by none, and by one.
func (s *site) checkSeen(t *testing.T, wayOf func(*packet) way) {
	t.Helper()
	ev := s.take(t)
	byNodes := map[int]int{}
	all := s.accounts(ev, wayOf)
	for _, c := range s.ClientAddresses() {
		if a := all[c]; a == nil {
			byNodes[0]++
		} else {
			byNodes[len(a.forward)]++
		}
	}
	if byNodes[0] == 0 || byNodes[1] == 0 || byNodes[2] == 0 {
		t.Errorf("clients by number of nodes that handled them: %v", byNodes)
	}
	if faults := s.faults(ev, s.ClientAddresses(), bothWays(1), wayOf); len(faults) < byNodes[0]+byNodes[2] {
		t.Errorf("%d faults found, want at least %d", len(faults), byNodes[0]+byNodes[2])
	}
}
