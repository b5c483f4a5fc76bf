package netdev

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
)

// How often to send multicast router advertisements (RFC 4286, section 3.1):
// first InitialRouterAdvertisements of them, at most
// InitialRouterAdvertisementInterval apart, then one in every
// RouterAdvertisementInterval. Linux bridges forget a router after 255 s.
const (
	RouterAdvertisementInterval        = 20 * time.Second
	InitialRouterAdvertisementInterval = 2 * time.Second
	InitialRouterAdvertisements        = 3
)

// Announce tells the hosts on a link that addresses are at the cluster MAC, by
// a gratuitous ARP request or an unsolicited neighbour advertisement for each.
// The frames come from the interface's own MAC: the cluster's is never a
// source, or switches would learn it.
func Announce(link LinkInfo, mac cluster.MAC, addrs []netip.Addr) error {
	router := false
	if value, err := readSysctl("net/ipv6/conf/" + link.Name + "/forwarding"); err == nil {
		router = value != "0" // as the kernel does in its own advertisements
	}
	var frames [][]byte
	for _, a := range addrs {
		if a.Is4() {
			frames = append(frames, gratuitousARP(link.MAC, mac, a))
		} else {
			frames = append(frames, unsolicitedNA(link.MAC, mac, a, router))
		}
	}
	if err := send(link.Index, frames); err != nil {
		return fmt.Errorf("announce %v at %s on %s: %w", addrs, mac, link.Name, err)
	}
	return nil
}

// SendRouterAdvertisement sends one multicast router advertisement (RFC 4286)
// per family, so that snooping switches forward multicast frames to this node
// whatever IP address is in them; with terminate, the message that ends this.
// It needs an own address on the interface, link-local for IPv6; exclude lists
// the cluster addresses, which are none.
func SendRouterAdvertisement(link LinkInfo, exclude []netip.Addr, v4, v6, terminate bool) error {
	var frames [][]byte
	var errs []error
	if v4 {
		if src, err := ownAddress(link, exclude, true); err != nil {
			errs = append(errs, err)
		} else {
			frames = append(frames, routerAdvertisementIPv4(link.MAC, src, terminate))
		}
	}
	if v6 {
		if src, err := ownAddress(link, exclude, false); err != nil {
			errs = append(errs, err)
		} else {
			frames = append(frames, routerAdvertisementIPv6(link.MAC, src, terminate))
		}
	}
	errs = append(errs, send(link.Index, frames))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("send a multicast router advertisement on %s: %w", link.Name, err)
	}
	return nil
}

// ownAddress finds an address of the host's own on an interface: any for IPv4,
// a link-local one for IPv6.
func ownAddress(link LinkInfo, exclude []netip.Addr, v4 bool) (netip.Addr, error) {
	addrs, err := listAddresses(v4)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addrs {
		addr := netIP(a.IP)
		unusable := a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0
		if a.LinkIndex == link.Index && !unusable && !isClusterAddress(a) &&
			!slices.Contains(exclude, addr) && (v4 || addr.IsLinkLocalUnicast()) {
			return addr, nil
		}
	}
	if _, err := linkName(link.Index); err != nil {
		return netip.Addr{}, err
	}
	if v4 {
		return netip.Addr{}, errors.New("the interface has no IPv4 address of its own; add one beside the cluster address")
	}
	return netip.Addr{}, errors.New("the interface has no usable IPv6 link-local address of its own (an address still being checked for duplicates is not); add one, or bring the interface up")
}

// send sends whole Ethernet frames through an interface.
func send(index int, frames [][]byte) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a packet socket: %w", err)
	}
	defer unix.Close(fd)
	for _, f := range frames {
		to := unix.SockaddrLinklayer{
			Protocol: binary.NativeEndian.Uint16(f[12:]), // wants it in network order
			Ifindex:  index,
			Halen:    6,
		}
		copy(to.Addr[:], f[:6])
		if err := unix.Sendto(fd, f, 0, &to); err != nil {
			return noLink(err)
		}
	}
	return nil
}
