package netdev

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// AddAddress adds a cluster address to an interface, in a form that is
// answered but not used as the source of this host's own connections:
//
//   - IPv4: a /32 of scope host, which source selection passes over, always.
//   - IPv6: a /128 that is deprecated (preferred lifetime 0) and valid forever,
//     without duplicate address detection, which the second node would fail.
//     Source selection prefers any other address of sufficient scope on any
//     interface (RFC 6724, rules 2 and 3); where the host has none, it takes
//     this one.
//
// added is false if the address was there already in this form. An address
// that is on this host in another form is its own, and refused: it is neither
// taken over nor removed. Link-local addresses are looked at on this interface
// only, others on all.
func AddAddress(index int, addr netip.Addr) (added bool, err error) {
	name, err := linkName(index)
	if err != nil {
		return false, fmt.Errorf("add %s: %w", addr, err)
	}
	present, err := findAddress(index, addr, true)
	if err != nil {
		return false, fmt.Errorf("add %s to %s: %w", addr, name, err)
	}
	if present {
		return false, nil
	}
	err = netlink.AddrAdd(nil, clusterAddress(index, addr))
	switch {
	case err == nil:
		return true, awaitAnswers(index, addr)
	case errors.Is(err, unix.EEXIST): // somebody was quicker
		present, err = findAddress(index, addr, true)
		if err == nil && !present {
			err = unix.EEXIST
		}
		if err == nil {
			return false, nil
		}
	case addr.Is6() && errors.Is(err, unix.EACCES):
		err = fmt.Errorf("IPv6 is disabled there; set the sysctl net/ipv6/conf/%s/disable_ipv6 to 0: %w", name, err)
	case addr.Is6() && (errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT)):
		err = fmt.Errorf("this kernel runs without IPv6: %w", err)
	}
	return false, fmt.Errorf("add %s to %s: %w", addr, name, gone(index, err))
}

// The kernel takes an IPv6 address into service from a work queue
// (addrconf_dad_work in net/ipv6/addrconf.c): there it joins the group of its
// solicitations, and last of all adds its local route. Until then it answers
// nobody, and who asks waits a second before asking again. The queue is shared
// by all namespaces.
const (
	answersPatience = 2 * time.Second
	answersInterval = 2 * time.Millisecond
)

// awaitAnswers waits until this host answers for an address that was added. On
// an interface that is down it need not: the address is there all the same.
func awaitAnswers(index int, addr netip.Addr) error {
	if addr.Is4() {
		return nil
	}
	local := &netlink.Route{LinkIndex: index, Table: unix.RT_TABLE_LOCAL, Dst: clusterAddress(index, addr).IPNet}
	for deadline := time.Now().Add(answersPatience); ; time.Sleep(answersInterval) {
		routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6, local,
			netlink.RT_FILTER_TABLE|netlink.RT_FILTER_OIF|netlink.RT_FILTER_DST)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return fmt.Errorf("look for the local route of %s: %w", addr, err)
		}
		if len(routes) > 0 || time.Now().After(deadline) {
			return nil
		}
		if link, err := netlink.LinkByIndex(index); err != nil || link.Attrs().Flags&net.FlagUp == 0 {
			return nil
		}
	}
}

// RemoveAddress removes a cluster address from an interface. An address that
// is not there, or there in another form than AddAddress gives it, is left
// alone, without an error.
func RemoveAddress(index int, addr netip.Addr) error {
	name, err := linkName(index)
	if err != nil {
		return fmt.Errorf("remove %s: %w", addr, err)
	}
	present, err := findAddress(index, addr, false)
	if err == nil && present {
		err = netlink.AddrDel(nil, clusterAddress(index, addr))
	}
	if err == nil || errors.Is(err, unix.EADDRNOTAVAIL) {
		return nil
	}
	return fmt.Errorf("remove %s from %s: %w", addr, name, gone(index, err))
}

// RemoveAddressEverywhere removes a cluster address from whatever interfaces
// have it in the form that AddAddress gives it.
func RemoveAddressEverywhere(addr netip.Addr) error {
	addrs, err := listAddresses(addr.Is4())
	if err != nil {
		return fmt.Errorf("look for %s: %w", addr, err)
	}
	var errs []error
	for _, a := range addrs {
		if netIP(a.IP) != addr || !isClusterAddress(a) {
			continue
		}
		if err := RemoveAddress(a.LinkIndex, addr); err != nil && !errors.Is(err, ErrNoLink) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// HasAddress reports whether an interface has a cluster address in the form
// that AddAddress gives it.
func HasAddress(index int, addr netip.Addr) (bool, error) {
	if _, err := linkName(index); err != nil {
		return false, fmt.Errorf("look for %s: %w", addr, err)
	}
	present, err := findAddress(index, addr, false)
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", addr, err)
	}
	return present, nil
}

func clusterAddress(index int, addr netip.Addr) *netlink.Addr {
	a := &netlink.Addr{
		IPNet: &net.IPNet{
			IP:   addr.AsSlice(),
			Mask: net.CIDRMask(addr.BitLen(), addr.BitLen()),
		},
		LinkIndex: index,
		Flags:     unix.IFA_F_NOPREFIXROUTE,
		Scope:     unix.RT_SCOPE_HOST,
	}
	if addr.Is6() {
		a.Scope = unix.RT_SCOPE_UNIVERSE // ignored: an IPv6 address has the scope of its bits
		a.Flags |= unix.IFA_F_NODAD
		a.ValidLft = math.MaxUint32 // forever; the preferred lifetime stays 0
	}
	return a
}

// isClusterAddress says whether an address has the form of clusterAddress.
func isClusterAddress(a netlink.Addr) bool {
	ones, bits := a.Mask.Size()
	if ones != bits || a.Peer != nil {
		return false
	}
	if bits == 32 {
		return a.Scope == unix.RT_SCOPE_HOST
	}
	const want = unix.IFA_F_NODAD | unix.IFA_F_DEPRECATED | unix.IFA_F_PERMANENT
	return a.Flags&want == want && a.Flags&unix.IFA_F_TENTATIVE == 0
}

// findAddress looks for addr in the form of a cluster address on one
// interface. With refuse, the same address in any other form is an error that
// says where it is and how to remove it.
func findAddress(index int, addr netip.Addr, refuse bool) (present bool, err error) {
	addrs, err := listAddresses(addr.Is4())
	if err != nil {
		return false, err
	}
	for _, a := range addrs {
		here := a.LinkIndex == index
		switch {
		case netIP(a.IP) != addr:
		case isClusterAddress(a):
			present = present || here
		case refuse && (here || !addr.IsLinkLocalUnicast()):
			return false, ownAddressError(a)
		}
	}
	return present, nil
}

func ownAddressError(a netlink.Addr) error {
	name, err := linkName(a.LinkIndex)
	if err != nil {
		return err
	}
	return fmt.Errorf("%s has it already, as an address of this host's own (%s); if it is to be a cluster address, remove it there first: ip address del %s dev %s",
		name, a.IPNet, a.IPNet, name)
}

// listAddresses lists the addresses of one family on all interfaces.
func listAddresses(v4 bool) ([]netlink.Addr, error) {
	family := netlink.FAMILY_V6
	if v4 {
		family = netlink.FAMILY_V4
	}
	for {
		addrs, err := netlink.AddrList(nil, family)
		if !errors.Is(err, netlink.ErrDumpInterrupted) { // the list changed while it was read
			return addrs, err
		}
	}
}

func netIP(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
