package transport

import (
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"github.com/shoal-net/shoal/internal/cluster"
	"golang.org/x/sys/unix"
)

// maxFrame is the longest frame that the receiver's data plane keeps
// (HEARTBEAT_MAX of bpf/abi.h).
const maxFrame = 1500

// MaxPayload is the longest message, in bytes: one that fits behind IPv6.
const MaxPayload = maxFrame - ethernetHeader - ipv6Header - udpHeader

// Sender sends messages to all nodes by one interface of the cluster, the way
// clients' packets come: who hears them shows that the segment does what the
// cluster needs.
type Sender struct {
	socket
	header int
	frame  [maxFrame]byte
}

// OpenSender opens a sender on an interface as it is now: open another one when
// the interface was made anew, or its addresses have changed. own are the
// addresses that the node is listed with.
func OpenSender(ifc cluster.Interface, own []netip.Addr) (*Sender, error) {
	link, err := ethernetInterface(ifc.Name)
	if err != nil {
		return nil, err
	}
	has, err := prefixes(link)
	if err != nil {
		return nil, err
	}
	src, dst, err := chooseAddresses(ifc, has, own)
	if err != nil {
		return nil, err
	}
	s := &Sender{}
	if s.socket, err = openPacketSender(); err != nil {
		return nil, fmt.Errorf("send by %s: %w", ifc.Name, err)
	}
	header := appendHeader(nil, cluster.MAC(link.HardwareAddr), ifc.MAC, src, dst)
	s.header = copy(s.frame[:], header)
	to := unix.RawSockaddrLinklayer{Family: unix.AF_PACKET, Ifindex: int32(link.Index), Protocol: bigEndian(be.Uint16(header[12:]))}
	s.aim(unsafe.Pointer(&to), unix.SizeofSockaddrLinklayer)
	return s, nil
}

// Send sends a message of up to MaxPayload bytes. It returns a unix.Errno:
// ENETDOWN: the interface is down. ENXIO: it is gone. ENOBUFS: its queue is
// full. EAGAIN: too much of the socket's is in the queue. EMSGSIZE: longer than
// the MTU or MaxPayload allows. EINVAL, EPERM: something on the host forbids it.
func (s *Sender) Send(payload []byte) error {
	if len(payload) > MaxPayload {
		return unix.EMSGSIZE
	}
	frame := s.frame[:s.header+copy(s.frame[s.header:], payload)]
	finish(frame)
	return s.send(frame)
}

// openPacketSender opens a packet socket that receives nothing. It does not go
// around the queueing discipline, nor around the data plane's egress program.
func openPacketSender() (socket, error) {
	s, err := openSocket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return s, err
	}
	// TC_PRIO_CONTROL of linux/pkt_sched.h: ahead of bulk data.
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 7); err != nil {
		s.Close()
		return s, os.NewSyscallError("setsockopt SO_PRIORITY", err)
	}
	return s, nil
}
