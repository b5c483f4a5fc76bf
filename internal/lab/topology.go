package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// The querier's response interval, in hundredths of a second. A bridge trusts
// its own querier only when one interval is over; the default is ten seconds.
const queryResponseInterval = 100

// A network is the namespaces of a lab by part.
type network map[string]*Namespace

// buildNetwork makes namespaces, bridges, cables, addresses and routes. The
// network holds what was made also when it fails. ctx is looked at between the
// steps.
func buildNetwork(ctx context.Context, p plan) (network, error) {
	n, err := makeNamespaces(p)
	if err != nil {
		return n, err
	}
	for _, part := range p.parts() {
		if err := n[part].prepare(part == partSwitch, p.forwards(part)); err != nil {
			return n, err
		}
	}
	for i, name := range p.bridges() {
		if err := n[partSwitch].addBridge(name, hostRouter+1+i, p.MTU, p.Snooping); err != nil {
			return n, err
		}
	}
	for _, c := range p.cables() {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		if err := n.plug(c); err != nil {
			return n, err
		}
	}
	for _, i := range p.ifaces() {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		if err := n.configure(i); err != nil {
			return n, err
		}
	}
	return n, n[partSwitch].awaitCarrier(ctx)
}

func makeNamespaces(p plan) (network, error) {
	n := network{}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(4)
	for _, part := range p.parts() {
		g.Go(func() error {
			ns, err := newNamespace(p.namespace(part))
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			n[part] = ns
			return nil
		})
	}
	return n, g.Wait()
}

// prepare sets what links inherit when they are made. IPv4 settings come from
// the host's own namespace otherwise. Link-local addresses are added by hand:
// duplicate-address detection would cost a second, and switching it off would
// hide whether the agent needs it off.
func (ns *Namespace) prepare(isSwitch, forwards bool) error {
	forward := "0"
	if forwards {
		forward = "1"
	}
	settings := [][2]string{
		{"ipv4/conf/all/rp_filter", "0"},
		{"ipv4/conf/default/rp_filter", "0"},
		{"ipv4/conf/all/forwarding", forward},
		{"ipv6/conf/all/forwarding", forward},
		{"ipv6/conf/default/addr_gen_mode", "1"}, // none
	}
	if isSwitch {
		settings = append(settings, [2]string{"ipv6/conf/default/disable_ipv6", "1"})
	}
	for _, s := range settings {
		if err := ns.Sysctl(s[0], s[1]); err != nil {
			return err
		}
	}
	lo, err := ns.links.LinkByName("lo")
	if err == nil {
		err = ns.links.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("set lo of %s up: %w", ns.Name, err)
	}
	return nil
}

// addBridge makes a bridge and brings it up. With snooping it has a querier,
// for which it needs a link-local address: host number n's.
func (ns *Namespace) addBridge(name string, n, mtu int, snooping bool) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, mtu
	bridge := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}
	if err := ns.links.LinkAdd(bridge); err != nil {
		return fmt.Errorf("make bridge %s: %w", name, err)
	}
	if err := ns.links.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("set bridge %s up: %w", name, err)
	}
	if !snooping {
		return nil
	}
	if err := ns.Sysctl("ipv6/conf/"+name+"/disable_ipv6", "0"); err != nil {
		return err
	}
	if err := ns.links.AddrAdd(bridge, address(netip.PrefixFrom(linkLocal(n), 64))); err != nil {
		return fmt.Errorf("add the querier's address to bridge %s: %w", name, err)
	}
	return ns.Do(func() error { return enableQuerier(bridge.Index) })
}

// enableQuerier makes the bridge send IGMPv3 and MLDv2 queries: hosts that
// answer an older one hold their reports back when they hear another's (RFC
// 2236, section 3), so that the bridge's database would not show who joined.
// The querier goes last, each setting in a message of its own: in one message
// the kernel would take them after it has started the querier (br_changelink in
// net/bridge/br_netlink.c).
func enableQuerier(index int) error {
	settings := []*nl.RtAttr{
		nl.NewRtAttr(nl.IFLA_BR_MCAST_IGMP_VERSION, nl.Uint8Attr(3)),
		nl.NewRtAttr(nl.IFLA_BR_MCAST_MLD_VERSION, nl.Uint8Attr(2)),
		nl.NewRtAttr(nl.IFLA_BR_MCAST_QUERY_RESPONSE_INTVL, nl.Uint64Attr(queryResponseInterval)),
		nl.NewRtAttr(nl.IFLA_BR_MCAST_QUERIER, nl.Uint8Attr(1)),
	}
	for _, setting := range settings {
		req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
		msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
		msg.Index = int32(index)
		req.AddData(msg)
		info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
		info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
		data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
		data.AddChild(setting)
		req.AddData(info)
		if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil {
			return fmt.Errorf("switch the bridge's multicast querier on: %w", err)
		}
	}
	return nil
}

// plug makes a veth pair and brings its first end up.
func (n network) plug(c cable) error {
	near := n[c.a.part]
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = c.a.link, c.mtu, c.a.mac
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: c.b.link, PeerHardwareAddr: c.b.mac,
		PeerMTU: uint32(c.mtu), PeerNamespace: netlink.NsFd(n[c.b.part].handle)}
	if err := near.links.LinkAdd(veth); err != nil {
		return fmt.Errorf("make link %s of %s: %w", c.a.link, near.Name, err)
	}
	if c.bridge != "" {
		bridge, err := near.links.LinkByName(c.bridge)
		if err == nil {
			err = near.links.LinkSetMaster(veth, bridge)
		}
		if err != nil {
			return fmt.Errorf("plug %s into %s: %w", c.a.link, c.bridge, err)
		}
	}
	if err := near.links.LinkSetUp(veth); err != nil {
		return fmt.Errorf("set %s of %s up: %w", c.a.link, near.Name, err)
	}
	return nil
}

// configure brings an interface up and gives it its addresses and routes, of
// which it may have some.
func (n network) configure(i iface) error {
	ns := n[i.part]
	link, err := ns.links.LinkByName(i.link)
	if err == nil {
		err = ns.links.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("set %s of %s up: %w", i.link, ns.Name, err)
	}
	for _, a := range i.addrs {
		if err := ns.links.AddrReplace(link, address(a)); err != nil {
			return fmt.Errorf("add %s to %s of %s: %w", a, i.link, ns.Name, err)
		}
	}
	for _, r := range i.routes {
		to := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(r.to), Gw: r.via.AsSlice()}
		if err := ns.links.RouteReplace(to); err != nil {
			return fmt.Errorf("add route to %s via %s in %s: %w", r.to, r.via, ns.Name, err)
		}
	}
	return nil
}

// address is p without duplicate-address detection.
func address(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// awaitCarrier waits until every link of the switch carries frames: bridges
// learn of a port's carrier a moment after its other end came up.
func (ns *Namespace) awaitCarrier(ctx context.Context) error {
	updates, done := make(chan netlink.LinkUpdate), make(chan struct{})
	defer func() {
		close(done)
		go func() {
			for range updates { // let the subscription go that waits for a reader
			}
		}()
	}()
	err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{Namespace: &ns.handle})
	if err != nil {
		return fmt.Errorf("watch the links of %s: %w", ns.Name, err)
	}
	links, err := ns.links.LinkList()
	if err != nil {
		return fmt.Errorf("list the links of %s: %w", ns.Name, err)
	}
	missing := map[string]bool{}
	note := func(l netlink.Link) {
		if a := l.Attrs(); a.Name == "lo" || a.OperState == netlink.OperUp {
			delete(missing, a.Name)
		} else {
			missing[a.Name] = true
		}
	}
	for _, l := range links {
		note(l)
	}
	for len(missing) > 0 {
		select {
		case u, ok := <-updates:
			if !ok {
				return fmt.Errorf("watch the links of %s: the subscription ended", ns.Name)
			}
			note(u.Link)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
