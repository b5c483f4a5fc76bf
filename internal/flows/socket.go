package flows

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Of include/uapi/linux/sock_diag.h and inet_diag.h.
const (
	sockDiagByFamily = 20
	sockDestroy      = 21

	sizeofDiagID  = 48          // struct inet_diag_sockid
	sizeofDiagMsg = 4 + 48 + 20 // struct inet_diag_msg
)

// States of sockets, as bits of inet_diag's filter (include/net/tcp_states.h).
// Closed and listening sockets have no flow. A request that waits for the last
// ACK is asked for and reported as SYN_RECV, an end that waits for the other
// one's FIN as FIN_WAIT2, whichever kind of socket it has become.
const (
	established uint32 = 1 << 1
	timeWait    uint32 = 1 << 6
	liveTCP     uint32 = established | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<8 | 1<<9 | 1<<11 // SYN_SENT, SYN_RECV, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING
)

// socket is a socket as a dump has it.
type socket struct {
	family, protocol uint8
	in               tuple  // the packets that come in to it
	device           uint32 // index of the interface that it is bound to; 0: any
	id               []byte // what names it to the kernel, its cookie included; valid during the dump only
}

// sockets calls each for the sockets of a protocol in the given states.
func (c *conn) sockets(protocol uint8, states uint32, each func(socket)) error {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		err := c.request(sockDiagByFamily, unix.NLM_F_DUMP, diagRequest(nil, family, protocol, states, nil), func(b []byte) {
			if s, ok := parseSocket(b); ok {
				s.protocol = protocol
				each(s)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// diagRequest appends a struct inet_diag_req_v2.
func diagRequest(b []byte, family, protocol uint8, states uint32, id []byte) []byte {
	b = append(b, family, protocol, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, states)
	var whole [sizeofDiagID]byte
	copy(whole[:], id)
	return append(b, whole[:]...)
}

func parseSocket(b []byte) (s socket, ok bool) {
	if len(b) < sizeofDiagMsg {
		return s, false
	}
	s.family, s.id = b[0], b[4:4+sizeofDiagID]
	s.in = tuple{
		src: address(s.family, s.id[20:36]), sport: binary.BigEndian.Uint16(s.id[2:]),
		dst: address(s.family, s.id[4:20]), dport: binary.BigEndian.Uint16(s.id[0:]),
	}
	s.device = binary.NativeEndian.Uint32(s.id[36:])
	return s, true
}

// address reads an address as what is on the wire: that of an IPv6 socket that
// speaks IPv4 as an IPv4 address.
func address(family uint8, b []byte) netip.Addr {
	if family == unix.AF_INET {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16([16]byte(b)).Unmap()
}
