package netdev

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
)

// Filter makes an interface accept frames to a cluster MAC, and in igmp mode
// is a member of the cluster's groups. All of it hangs on open sockets, so it
// ends with Close and also when the process dies.
type Filter struct {
	fds []int
}

// OpenFilter adds the cluster MAC to the interface's receive filter: as a
// unicast address for l2 unicast (where a driver cannot filter, it turns
// promiscuous), as a multicast one otherwise. In igmp mode it also joins
// cluster.GroupIPv4(mac), whose MAC the cluster's is, and if v6 is set
// cluster.GroupIPv6(mac): the kernel then reports the groups to switches that
// snoop, now and whenever a querier asks.
func OpenFilter(index int, l2 cluster.L2, mac cluster.MAC, v6 bool) (*Filter, error) {
	name, err := linkName(index)
	if err != nil {
		return nil, fmt.Errorf("accept frames to %s: %w", mac, err)
	}
	f := &Filter{}
	kind := uint16(unix.PACKET_MR_MULTICAST)
	if l2 == cluster.Unicast {
		kind = unix.PACKET_MR_UNICAST
	}
	if err := f.addMAC(index, kind, mac); err != nil {
		f.Close()
		return nil, fmt.Errorf("accept frames to %s on %s: %w", mac, name, gone(index, err))
	}
	if l2 != cluster.IGMP {
		return f, nil
	}
	if err := f.joinIPv4(index, mac); err != nil {
		f.Close()
		return nil, fmt.Errorf("join %s on %s: %w", cluster.GroupIPv4(mac), name, gone(index, err))
	}
	if !v6 {
		return f, nil
	}
	if err := f.joinIPv6(index, mac); err != nil {
		f.Close()
		return nil, fmt.Errorf("join %s on %s (is IPv6 enabled there?): %w", cluster.GroupIPv6(mac), name, gone(index, err))
	}
	return f, nil
}

// Close takes the MAC out of the filter and leaves the groups.
func (f *Filter) Close() {
	for _, fd := range f.fds {
		unix.Close(fd)
	}
	f.fds = nil
}

func (f *Filter) socket(domain, kind int) (int, error) {
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		f.fds = append(f.fds, fd)
	}
	return fd, err
}

// addMAC uses a packet socket of protocol 0, which is handed no frames.
func (f *Filter) addMAC(index int, kind uint16, mac cluster.MAC) error {
	fd, err := f.socket(unix.AF_PACKET, unix.SOCK_RAW)
	if err != nil {
		return err
	}
	mreq := unix.PacketMreq{Ifindex: int32(index), Type: kind, Alen: uint16(len(mac))}
	copy(mreq.Address[:], mac[:])
	return unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq)
}

func (f *Filter) joinIPv4(index int, mac cluster.MAC) error {
	fd, err := f.socket(unix.AF_INET, unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	mreq := unix.IPMreqn{Multiaddr: cluster.GroupIPv4(mac).As4(), Ifindex: int32(index)}
	return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &mreq)
}

func (f *Filter) joinIPv6(index int, mac cluster.MAC) error {
	fd, err := f.socket(unix.AF_INET6, unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	mreq := unix.IPv6Mreq{Multiaddr: cluster.GroupIPv6(mac).As16(), Interface: uint32(index)}
	return unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &mreq)
}
