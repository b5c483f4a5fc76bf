//go:build privileged

package flows

import (
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A link-local client's address says nothing without its link.
func TestLinkLocalClients(t *testing.T) {
	s, c := newSite(t), backend()
	s.cable("eth3", s.peer, nil, nil)
	s.must(netns.Set(s.node))
	l, err := net.Listen("tcp6", ":80")
	s.must(err)
	defer l.Close()
	dial := func(link string) {
		var far net.Conn
		s.on(s.peer, func() {
			s.eventually("a connection by "+link, func() bool { // its address takes a moment
				own := linkLocal(link)
				d := net.Dialer{LocalAddr: own, Timeout: time.Second}
				var err error
				if own != nil {
					far, err = d.DialContext(t.Context(), "tcp", "[2001:db8::10]:80")
				}
				return own != nil && err == nil
			})
		})
		t.Cleanup(func() { far.Close() })
		s.accept(l)
	}
	dial("eth1")
	f := s.open(c)
	if n := s.total(f); n != 1 {
		t.Errorf("%d flows, want 1", n)
	}
	own, err := (&net.Dialer{LocalAddr: linkLocal("eth1")}).DialContext(t.Context(), "tcp", "[2001:db8::10]:80")
	s.must(err)
	defer own.Close()
	s.accept(l)
	if n := s.total(f); n != 1 {
		t.Errorf("%d flows, want 1: the host's own is none", n)
	}
	var gateway *net.TCPAddr
	s.eventually("the node has a link-local address", func() bool {
		gateway = linkLocal("eth3")
		return gateway != nil
	})
	s.on(s.peer, func() {
		s.must(netlink.RouteReplace(&netlink.Route{Dst: ipNet(netip.PrefixFrom(vip6, 128)), Gw: gateway.IP, LinkIndex: device(t, "eth3").Attrs().Index}))
	})
	dial("eth3") // no interface of the cluster
	if n := s.total(f); n != 1 {
		t.Errorf("%d flows, want 1 as before", n)
	}
}

// linkLocal returns an interface's link-local address, nil while it has none.
func linkLocal(link string) *net.TCPAddr {
	ifc, err := net.InterfaceByName(link)
	if err != nil {
		return nil
	}
	addresses, _ := ifc.Addrs()
	for _, a := range addresses {
		if ip := a.(*net.IPNet).IP; ip.IsLinkLocalUnicast() {
			return &net.TCPAddr{IP: ip, Zone: strconv.Itoa(ifc.Index)} // names are remembered across namespaces
		}
	}
	return nil
}

// The way to a client decides, as it is at the time, for packets from the
// cluster address.
func TestRoutesChange(t *testing.T) {
	s, c := newSite(t), backend()
	l, err := net.Listen("tcp", ":80")
	s.must(err)
	defer l.Close()
	s.dial(nth(clients4, 1), netip.AddrPortFrom(vip4, 80))
	s.accept(l)
	f := s.open(c)
	check := func(what string, want int) {
		t.Helper()
		if got := s.total(f); got != want {
			t.Errorf("%s: %d flows, want %d", what, got, want)
		}
	}
	check("at first", 1)
	away := &netlink.Route{Dst: ipNet(clients4), Gw: net.ParseIP("10.9.0.2")}
	s.must(netlink.RouteReplace(away))
	check("by another link", 0)
	s.must(netlink.RouteDel(away))
	check("without a route", 1)
	s.must(netlink.RouteAdd(away))
	check("by another link again", 0)
	back := &netlink.Route{Dst: ipNet(clients4), Gw: net.ParseIP("192.0.2.99"), Table: 100}
	s.must(netlink.RouteAdd(back))
	rule := netlink.NewRule()
	rule.Src, rule.Table, rule.Family = ipNet(netip.PrefixFrom(vip4, 32)), 100, unix.AF_INET
	s.must(netlink.RuleAdd(rule))
	check("by policy", 1)
	s.must(netlink.LinkSetDown(device(t, "eth1")))
	check("link down", 0) // by the main table's route, whichever way answers go now
	s.must(netlink.RouteDel(away))
	check("link down, no route", 1)
}

func device(t testing.TB, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// total counts the flows in all buckets.
func (s *site) total(f *Flows) int {
	s.Helper()
	counts, err := f.Count(nil)
	s.must(err)
	return sum(counts)
}
