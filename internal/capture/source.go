package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket/layers"
)

// Why a packet has no source address.
var (
	ErrNotIP   = errors.New("not IP")
	ErrDamaged = errors.New("its IP header is damaged or was not captured whole")
)

// LinkTypeError is a link type whose packets cannot be read.
type LinkTypeError struct{ Link layers.LinkType }

func (e *LinkTypeError) Error() string {
	return fmt.Sprintf("link type %d (%s) is not supported: only Ethernet, raw IP, Linux cooked (SLL, SLL2), null and loopback are",
		uint16(e.Link), e.Link)
}

// Link types that gopacket has no names for, from
// https://www.tcpdump.org/linktypes.html: raw IP as some systems number it.
const (
	linkTypeRawBSD     layers.LinkType = 12
	linkTypeRawOpenBSD layers.LinkType = 14
)

func known(link layers.LinkType) bool {
	_, _, err := network(link, nil)
	var unknown *LinkTypeError
	return !errors.As(err, &unknown)
}

// Source returns the source address of a packet: ErrNotIP, ErrDamaged or a
// *LinkTypeError where there is none.
func Source(link layers.LinkType, data []byte) (netip.Addr, error) {
	kind, data, err := network(link, data)
	if err != nil {
		return netip.Addr{}, err
	}
	switch {
	case kind == layers.EthernetTypeIPv4 && len(data) >= 20 && data[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(data[12:16])), nil
	case kind == layers.EthernetTypeIPv6 && len(data) >= 40 && data[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(data[8:24])), nil
	case kind == layers.EthernetTypeIPv4, kind == layers.EthernetTypeIPv6:
		return netip.Addr{}, ErrDamaged
	}
	return netip.Addr{}, ErrNotIP
}

// network strips the link layer of a packet, and says what is behind it.
func network(link layers.LinkType, data []byte) (kind layers.EthernetType, rest []byte, err error) {
	header, kindAt := 0, 0
	switch link {
	case layers.LinkTypeEthernet:
		header, kindAt = 14, 12
	case layers.LinkTypeLinuxSLL:
		header, kindAt = 16, 14
	case layers.LinkTypeLinuxSLL2:
		header, kindAt = 20, 0
	case layers.LinkTypeNull, layers.LinkTypeLoop:
		return family(data)
	case layers.LinkTypeIPv4:
		return layers.EthernetTypeIPv4, data, nil
	case layers.LinkTypeIPv6:
		return layers.EthernetTypeIPv6, data, nil
	case layers.LinkTypeRaw, linkTypeRawBSD, linkTypeRawOpenBSD:
		if len(data) == 0 {
			return 0, nil, ErrDamaged
		}
		switch data[0] >> 4 {
		case 4:
			return layers.EthernetTypeIPv4, data, nil
		case 6:
			return layers.EthernetTypeIPv6, data, nil
		}
		return 0, nil, ErrNotIP
	default:
		return 0, nil, &LinkTypeError{link}
	}
	if len(data) < header {
		return 0, nil, ErrDamaged
	}
	kind = layers.EthernetType(binary.BigEndian.Uint16(data[kindAt:]))
	return untag(kind, data[header:])
}

// untag strips VLAN tags, IEEE 802.1Q and 802.1ad; 0x9100 is what older
// switches use for the outer one.
func untag(kind layers.EthernetType, data []byte) (layers.EthernetType, []byte, error) {
	const oldQinQ layers.EthernetType = 0x9100
	for kind == layers.EthernetTypeDot1Q || kind == layers.EthernetTypeQinQ || kind == oldQinQ {
		if len(data) < 4 {
			return 0, nil, ErrDamaged
		}
		kind, data = layers.EthernetType(binary.BigEndian.Uint16(data[2:])), data[4:]
	}
	return kind, data, nil
}

// family strips the address family in front of packets of a loopback device.
// It is in the byte order of the capturing host, and its number for IPv6 is
// that of the host's system.
func family(data []byte) (layers.EthernetType, []byte, error) {
	if len(data) < 4 {
		return 0, nil, ErrDamaged
	}
	number := binary.BigEndian.Uint32(data)
	if number > 0xffff {
		number = binary.LittleEndian.Uint32(data)
	}
	switch number {
	case 2:
		return layers.EthernetTypeIPv4, data[4:], nil
	case 10, 24, 28, 30: // Linux; NetBSD and OpenBSD; FreeBSD; macOS
		return layers.EthernetTypeIPv6, data[4:], nil
	}
	return 0, nil, ErrNotIP
}
