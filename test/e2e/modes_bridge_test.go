//go:build privileged

package e2e

import (
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	afpacket "github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/lab"
)

// A bystander is a port of a bridge that has no part in anything, and counts
// the frames to the cluster MAC that it gets.
type bystander struct{ frames atomic.Int64 }

func newBystander(t *testing.T, l *lab.Lab, on string, mac cluster.MAC) *bystander {
	t.Helper()
	links := l.Switch.Netlink()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "by-" + on
	bridge, err := links.LinkByName(on)
	must(t, err)
	attrs.MasterIndex = bridge.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "at-" + on}
	must(t, links.LinkAdd(veth))
	must(t, links.LinkSetUp(veth))
	peer, err := links.LinkByName(veth.PeerName)
	must(t, err)
	must(t, links.LinkSetUp(peer))
	await(t, "the bystander's carrier", func() bool {
		port, err := links.LinkByName(attrs.Name)
		return err == nil && port.Attrs().OperState == netlink.OperUp
	})
	b := &bystander{}
	listen(t, l.Switch, veth.PeerName, func(frame []byte) {
		if cluster.MAC(frame[:6]) == mac {
			b.frames.Add(1)
		}
	})
	return b
}

// listen hands every frame that arrives at a link to f, until the test ends.
func listen(t *testing.T, ns *lab.Namespace, link string, f func(frame []byte)) {
	t.Helper()
	var c *afpacket.Conn
	must(t, ns.Do(func() error {
		ifc, err := net.InterfaceByName(link)
		if err != nil {
			return err
		}
		c, err = afpacket.Listen(ifc, afpacket.Raw, unix.ETH_P_ALL, nil)
		return err
	}))
	t.Cleanup(func() { c.Close() })
	go func() {
		for buf := make([]byte, 1<<16); ; {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if n >= 14 {
				f(buf[:n])
			}
		}
	}()
}

func clusterMAC(t *testing.T, n *lab.Node) cluster.MAC {
	t.Helper()
	mac, err := cluster.ParseMAC(status(t, n).Interfaces[0].MAC)
	must(t, err)
	return mac
}

// Bridges that snoop, with queriers of both families: the nodes' joins and
// router advertisements bring them the cluster's frames, and nobody else.
func TestModesSnoopingBridge(t *testing.T) {
	for _, c := range []struct {
		mode    cluster.Mode
		bridges map[string]string // and how the names of the nodes' ports end there
	}{
		{cluster.Backend, map[string]string{"br-client": "-c"}},
		{cluster.Gateway, map[string]string{"br-client": "-c", "br-server": "-s"}},
	} {
		t.Run(c.mode.String(), func(t *testing.T) {
			l, _ := newLab(t, lab.Options{Static: true, Mode: c.mode, Nodes: 3, Clients: 10, L2: cluster.IGMP, Snooping: true})
			mac := clusterMAC(t, l.Nodes[0]) // the addresses of both sides end alike
			bystanders := map[string]*bystander{}
			for bridge := range c.bridges {
				bystanders[bridge] = newBystander(t, l, bridge, mac)
			}
			for bridge, other := range bystanders {
				awaitSnooping(t, l, bridge, other)
				checkJoined(t, l, bridge, c.bridges[bridge], mac)
			}
			gauges := gaugeNodes(t, l)
			for _, other := range bystanders {
				other.frames.Store(0)
			}
			probe(t, l, lab.TCP, lab.UDP, lab.Ping)
			checkDatagrams(t, l, fragmented)
			checkOneHandler(t, gauges, l.ClientAddresses(), viaTCP, viaUDP, viaICMP)
			for bridge, other := range bystanders {
				if n := other.frames.Load(); n > 0 {
					t.Errorf("a port of %s that no node is on got %d frames to the cluster", bridge, n)
				}
			}
			for bridge, other := range bystanders {
				in(t, l.Switch, "ip", "link", "set", bridge, "type", "bridge", "mcast_snooping", "0")
				checkDatagrams(t, l, 10)
				if other.frames.Load() == 0 {
					t.Errorf("the bystander on %s sees nothing, whatever the bridge does", bridge)
				}
			}
		})
	}
}

// awaitSnooping waits until a bridge sends a bystander nothing of a round of
// requests: until its queriers are trusted, it floods. Meanwhile nothing may be
// lost.
func awaitSnooping(t *testing.T, l *lab.Lab, bridge string, other *bystander) {
	t.Helper()
	await(t, "a round of requests that the bystander on "+bridge+" sees nothing of", func() bool {
		before := other.frames.Load()
		checkDatagrams(t, l, 10)
		return other.frames.Load() == before
	})
}

// checkJoined looks for the nodes' ports in a bridge's database of groups and
// routers.
func checkJoined(t *testing.T, l *lab.Lab, bridge, suffix string, mac cluster.MAC) {
	t.Helper()
	entries := strings.Split(in(t, l.Switch, "bridge", "-details", "mdb", "show", "dev", bridge), "\n")
	for _, n := range l.Nodes {
		port := n.Name + suffix
		for _, words := range [][2]string{
			{"port " + port, "grp " + cluster.GroupIPv4(mac).String()},
			{"port " + port, "grp " + cluster.GroupIPv6(mac).String()},
			{"router ports on " + bridge + ":", port},
		} {
			if !slices.ContainsFunc(entries, func(e string) bool {
				return strings.Contains(e+" ", words[0]+" ") && strings.Contains(e+" ", " "+words[1]+" ")
			}) {
				t.Errorf("the bridge has no %q:\n%s", words, strings.Join(entries, "\n"))
			}
		}
	}
}

// In unicast mode frames reach all nodes because no bridge ever learns where
// the shared MAC is, whether it snoops or not.
func TestModesBridgeNeverLearnsSharedMAC(t *testing.T) {
	for _, mode := range []cluster.Mode{cluster.Backend, cluster.Gateway} {
		t.Run(mode.String(), func(t *testing.T) {
			l, _ := newLab(t, lab.Options{Static: true, Mode: mode, Nodes: 3, Clients: 10, Snooping: true})
			gauges := gaugeNodes(t, l)
			probe(t, l, lab.TCP, lab.UDP, lab.Ping)
			checkDatagrams(t, l, fragmented)
			checkOneHandler(t, gauges, l.ClientAddresses(), viaTCP, viaUDP, viaICMP)
			learned := map[string]bool{}
			entries, err := l.Switch.Netlink().NeighList(0, unix.AF_BRIDGE)
			must(t, err)
			for _, e := range entries {
				learned[e.HardwareAddr.String()] = true
			}
			for _, n := range l.Nodes {
				for _, ifc := range status(t, n).Interfaces {
					if learned[ifc.MAC] {
						t.Errorf("a bridge learned the cluster MAC %s", ifc.MAC)
					}
					own := ownMAC(t, n, ifc.Name)
					if !learned[own] {
						t.Errorf("no bridge learned %s, the MAC of %s: the list shows nothing", own, n.Name)
					}
				}
			}
		})
	}
}

func ownMAC(t *testing.T, n *lab.Node, link string) string {
	t.Helper()
	found, err := n.NS.Netlink().LinkByName(link)
	must(t, err)
	return found.Attrs().HardwareAddr.String()
}
