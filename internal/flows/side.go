package flows

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
)

// reach says where the way to an address begins.
type reach uint8

const (
	elsewhere  reach = iota // this host itself, or an interface that is not the cluster's
	clientSide              // an interface of the cluster
	serverSide
	nowhere // there is none: it is not known where the address was reached
)

// destination is what a way leads to. The zero values of from and device: any.
type destination struct {
	to, from netip.Addr
	device   uint32
}

// maxKnown bounds the memory for what is known of destinations: 50 MB.
const maxKnown = 1 << 18

// sides knows by which interfaces of the cluster addresses are reached. It asks
// the kernel once for each, until a link, an address, a route or a rule
// changes.
type sides struct {
	interfaces []cluster.Interface
	routes     *conn
	changes    *conn
	byIndex    map[uint32]reach
	known      map[destination]reach
}

func openSides(interfaces []cluster.Interface) (*sides, error) {
	var groups uint32
	for _, group := range []int{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_RULE,
		unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_RULE} {
		groups |= 1 << (group - 1)
	}
	changes, err := dial(unix.NETLINK_ROUTE, groups)
	if err != nil {
		return nil, err
	}
	routes, err := dial(unix.NETLINK_ROUTE, 0)
	if err != nil {
		changes.Close()
		return nil, err
	}
	return &sides{interfaces: interfaces, routes: routes, changes: changes}, nil
}

func (s *sides) Close() {
	s.routes.Close()
	s.changes.Close()
}

// refresh forgets what may no longer be true.
func (s *sides) refresh() {
	if !s.changes.changed() && s.known != nil {
		return
	}
	s.known, s.byIndex = map[destination]reach{}, map[uint32]reach{}
	for _, ifc := range s.interfaces {
		if link, err := net.InterfaceByName(ifc.Name); err == nil {
			s.byIndex[uint32(link.Index)] = reachOf(ifc.Side)
		}
	}
}

func reachOf(side cluster.Side) reach {
	if side == cluster.ServerSide {
		return serverSide
	}
	return clientSide
}

func (s *sides) reach(d destination) reach {
	r, ok := s.known[d]
	if !ok {
		if len(s.known) >= maxKnown {
			clear(s.known)
		}
		r = s.ask(d)
		s.known[d] = r
	}
	return r
}

// ask asks the kernel for the route (struct rtmsg). Where there is none, or one
// of a kind that leads nowhere (unreachable, blackhole, prohibit), the answer is
// an error.
func (s *sides) ask(d destination) reach {
	body := []byte{family(d.to), uint8(d.to.BitLen()), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	body = appendAttribute(body, unix.RTA_DST, d.to.AsSlice())
	if d.from.IsValid() {
		body = appendAttribute(body, unix.RTA_SRC, d.from.AsSlice())
	}
	if d.device != 0 {
		body = appendAttribute(body, unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, d.device))
	}
	answer := nowhere
	s.routes.request(unix.RTM_GETROUTE, 0, body, func(b []byte) {
		if len(b) >= unix.SizeofRtMsg {
			answer = s.parse(b)
		}
	})
	return answer
}

// parse reads a route. Those to this host itself lead to the loopback interface.
func (s *sides) parse(b []byte) reach {
	var device uint32
	attributes(b[unix.SizeofRtMsg:], func(kind uint16, _, value []byte) {
		if kind == unix.RTA_OIF && len(value) == 4 {
			device = binary.NativeEndian.Uint32(value)
		}
	})
	return s.byIndex[device]
}

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
