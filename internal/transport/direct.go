package transport

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
)

// etherDirect is IEEE 802's EtherType for local experiments: no registered
// protocol is mistaken for it.
const etherDirect = 0x88b5

// directMAC is where messages on a dedicated link go: a locally administered
// group address ("shoal" behind 03). Switches and bridges flood it: those of
// 01:80:c2 they keep to themselves, those of IP groups (01:00:5e, 33:33) they
// may snoop, and a unicast one would have to be learned for each node. Cluster
// MACs, which begin with 02:bf or 03:bf, are not mistaken for it.
var directMAC = cluster.MAC{0x03, 's', 'h', 'o', 'a', 'l'}

// directHeader is the Ethernet header and the message's length in two bytes,
// big endian: Ethernet fills short frames up.
const directHeader = ethernetHeader + 2

// directQueue is room for several intervals of 64 nodes, in bytes; the kernel
// doubles it, and counts what a frame takes in memory.
const directQueue = 2 << 20

// Direct sends and receives messages over a link that has no cluster addresses,
// in frames of their own: it needs no address, and no data plane. Who sent a
// message is only in the message.
type Direct struct {
	socket
	out [directHeader + MaxPayload]byte
	in  [directHeader + MaxPayload]byte
}

// OpenDirect opens a dedicated link as it is now: open another one when the
// interface was made anew.
func OpenDirect(ifname string) (*Direct, error) {
	link, err := ethernetInterface(ifname)
	if err != nil {
		return nil, err
	}
	d := &Direct{}
	if d.socket, err = openPacketSender(); err != nil {
		return nil, fmt.Errorf("send by %s: %w", ifname, err)
	}
	if err := d.listen(link.Index); err != nil {
		d.Close()
		return nil, fmt.Errorf("listen on %s: %w", ifname, err)
	}
	copy(d.out[:], directMAC[:])
	copy(d.out[6:], link.HardwareAddr)
	be.PutUint16(d.out[12:], etherDirect)
	return d, nil
}

func (d *Direct) listen(ifindex int) error {
	if err := unix.SetsockoptInt(d.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, directQueue); err != nil {
		return os.NewSyscallError("setsockopt SO_RCVBUFFORCE", err)
	}
	member := unix.PacketMreq{Ifindex: int32(ifindex), Type: unix.PACKET_MR_MULTICAST, Alen: uint16(len(directMAC))}
	copy(member.Address[:], directMAC[:])
	if err := unix.SetsockoptPacketMreq(d.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &member); err != nil {
		return os.NewSyscallError("setsockopt PACKET_ADD_MEMBERSHIP", err)
	}
	return d.bind(etherDirect, ifindex)
}

// Send sends a message of up to MaxPayload bytes. Its errors are those of
// Sender.Send.
func (d *Direct) Send(payload []byte) error {
	if len(payload) > MaxPayload {
		return unix.EMSGSIZE
	}
	be.PutUint16(d.out[ethernetHeader:], uint16(len(payload)))
	return d.send(d.out[:directHeader+copy(d.out[directHeader:], payload)])
}

// Next returns the next message, which stands until the next call, and when it
// was taken from the socket, by the boot-time clock; false: there is none now.
//
// The kernel would say when a frame came in, but by the clock of the day. That
// may be set in between, and an arrival that seems too early is one that a
// lease is counted from too early. One that is too late, by as much as this
// process is, only delays a failover by that.
func (d *Direct) Next() (payload []byte, arrived time.Duration, ok bool) {
	for {
		n, errno := d.receive(d.in[:])
		if errno != 0 {
			return nil, 0, false
		}
		if n < directHeader || n > len(d.in) {
			continue
		}
		if length := int(be.Uint16(d.in[ethernetHeader:])); length <= n-directHeader {
			return d.in[directHeader:][:length], now(), true
		}
	}
}
