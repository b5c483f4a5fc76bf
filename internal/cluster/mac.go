package cluster

import (
	"fmt"
	"net"
	"net/netip"
)

// MAC is an Ethernet address, in the order of its bytes on the wire.
type MAC [6]byte

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// MarshalText returns the usual form, with colons.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText parses as ParseMAC does.
func (m *MAC) UnmarshalText(b []byte) (err error) {
	*m, err = ParseMAC(string(b))
	return err
}

// ParseMAC parses six bytes in hexadecimal, as net.ParseMAC does.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 {
		return MAC{}, fmt.Errorf("%q is not an Ethernet address such as 02:bf:c0:00:02:0a", s)
	}
	return MAC(hw), nil
}

// DefaultMAC derives the cluster MAC of an interface from its first cluster
// address: 02:bf (unicast) or 03:bf (multicast) and the last four bytes of the
// address, or 01:00:5e:7f:y:z of the group 239.255.y.z, where y and z are the
// address's last two bytes.
func DefaultMAC(l2 L2, addr netip.Addr) MAC {
	b := addr.AsSlice()
	b = b[len(b)-4:]
	switch l2 {
	case Multicast:
		return MAC{0x03, 0xbf, b[0], b[1], b[2], b[3]}
	case IGMP:
		return MAC{0x01, 0x00, 0x5e, 0x7f, b[2], b[3]}
	default:
		return MAC{0x02, 0xbf, b[0], b[1], b[2], b[3]}
	}
}

// CheckMAC reports why mac cannot be the cluster MAC in the given mode.
func CheckMAC(l2 L2, mac MAC) error {
	group := mac[0]&1 != 0
	local := mac[0]&2 != 0
	switch {
	case mac == MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}:
		return fmt.Errorf("%s is the broadcast address", mac)
	case l2 == Unicast && group:
		return fmt.Errorf("%s is a multicast address; l2: unicast takes a locally administered unicast one such as 02:bf:c0:00:02:0a", mac)
	case l2 == Unicast && !local:
		return fmt.Errorf("%s is not locally administered; l2: unicast takes one such as 02:bf:c0:00:02:0a", mac)
	case l2 == Multicast && !group:
		return fmt.Errorf("%s is a unicast address; l2: multicast takes a multicast one such as 03:bf:c0:00:02:0a or 01:00:5e:00:01:01", mac)
	case l2 == IGMP && [4]byte(mac[:4]) != [4]byte{0x01, 0x00, 0x5e, 0x7f}:
		return fmt.Errorf("%s is not 01:00:5e:7f:y:z; l2: igmp takes the address of a group 239.255.y.z", mac)
	}
	return nil
}

// GroupIPv4 returns the IPv4 group 239.255.y.z behind an igmp cluster MAC.
func GroupIPv4(mac MAC) netip.Addr {
	return netip.AddrFrom4([4]byte{239, 255, mac[4], mac[5]})
}

// GroupIPv6 returns the IPv6 group that nodes join beside GroupIPv4: ff15::
// (transient, site-local, RFC 4291) and the IPv4 group in the last 32 bits.
func GroupIPv6(mac MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x15, 12: 239, 13: 255, 14: mac[4], 15: mac[5]})
}
