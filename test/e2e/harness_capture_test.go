//go:build privileged

package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/shoal-net/shoal/internal/lab"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Room for what is captured between two calls of take, in bytes. Both kinds of
// capture fail the test where it was not enough.
const captureRoom = 64 << 20

// A prerouting capture holds what passed ingress on a node: each packet that
// reached the hook, fragments one by one, before connection tracking.
type prerouting struct {
	fd     int
	ifaces map[uint32]string
	seq    uint32
}

// The priority is that of NF_IP_PRI_RAW_BEFORE_DEFRAG (linux/netfilter_ipv4.h).
const preroutingRules = `table inet e2e_seen {
	chain prerouting {
		type filter hook prerouting priority -450;
		iifname "eth*" log group 7 snaplen 256 queue-threshold 1
	}
}`

// Attributes of linux/netfilter/nfnetlink_log.h.
const (
	logGroup        = 7
	logPacket       = unix.NFNL_SUBSYS_ULOG << 8
	logConfig       = unix.NFNL_SUBSYS_ULOG<<8 | 1
	cfgCommand      = 1
	cfgMode         = 2
	cfgBufferSize   = 3
	cfgFlags        = 6
	cfgFlagSequence = 1
	attrIndevice    = 4
	attrPayload     = 9
	attrSequence    = 12
)

// capturePrerouting begins to capture on a node.
func capturePrerouting(t *testing.T, ns *lab.Namespace) *prerouting {
	t.Helper()
	p := &prerouting{ifaces: map[uint32]string{}}
	must(t, ns.Do(func() (err error) {
		p.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		return err
	}))
	t.Cleanup(func() { unix.Close(p.fd) })
	must(t, unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureRoom))
	must(t, p.configure(cfgCommand, []byte{1})) // bind
	mode := binary.BigEndian.AppendUint32(nil, 256)
	must(t, p.configure(cfgMode, append(mode, 2, 0))) // copy packets
	must(t, p.configure(cfgBufferSize, binary.BigEndian.AppendUint32(nil, 1024)))
	must(t, p.configure(cfgFlags, binary.BigEndian.AppendUint16(nil, cfgFlagSequence)))
	links, err := ns.Netlink().LinkList()
	must(t, err)
	for _, l := range links {
		p.ifaces[uint32(l.Attrs().Index)] = l.Attrs().Name
	}
	in(t, ns, "nft", preroutingRules)
	return p
}

func (p *prerouting) configure(attr int, value []byte) error {
	req := nl.NewNetlinkRequest(logConfig, unix.NLM_F_ACK)
	header := []byte{unix.AF_UNSPEC, 0, 0, logGroup} // struct nfgenmsg
	req.AddRawData(append(header, nl.NewRtAttr(attr, value).Serialize()...))
	if err := unix.Sendto(p.fd, req.Serialize(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(p.fd, buf, 0)
	if err != nil {
		return err
	}
	if n < 20 || binary.NativeEndian.Uint16(buf[4:]) != unix.NLMSG_ERROR {
		return errors.New("no acknowledgement from nfnetlink_log")
	}
	if errno := -int32(binary.NativeEndian.Uint32(buf[16:])); errno != 0 {
		return fmt.Errorf("nfnetlink_log: %w", unix.Errno(errno))
	}
	return nil
}

// take returns what was captured since the last call.
func (p *prerouting) take(t *testing.T) []packet {
	t.Helper()
	var all []packet
	buf := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(p.fd, buf, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return all
		}
		must(t, err) // ENOBUFS: captureRoom is too small
		for b := buf[:n]; len(b) >= unix.NLMSG_HDRLEN; {
			length := int(binary.NativeEndian.Uint32(b))
			if binary.NativeEndian.Uint16(b[4:]) == logPacket {
				all = append(all, p.parse(t, b[unix.NLMSG_HDRLEN+4:length]))
			}
			b = b[min(len(b), (length+3)&^3):]
		}
	}
}

func (p *prerouting) parse(t *testing.T, b []byte) (seen packet) {
	t.Helper()
	attrs, err := nl.ParseRouteAttr(b)
	must(t, err)
	for _, a := range attrs {
		switch a.Attr.Type {
		case attrIndevice:
			seen.iface = p.ifaces[binary.BigEndian.Uint32(a.Value)]
		case attrPayload:
			parseIP(a.Value, &seen)
		case attrSequence:
			if seq := binary.BigEndian.Uint32(a.Value); seq != p.seq {
				t.Fatalf("packets %d to %d of the log are missing", p.seq, seq)
			} else {
				p.seq++
			}
		}
	}
	return seen
}

// A tap captures the frames that an interface gets.
type tap struct{ fd int }

// openTap captures on one interface, or on all of a namespace if its name is
// empty.
func openTap(t *testing.T, ns *lab.Namespace, iface string, filter ...bpf.Instruction) *tap {
	t.Helper()
	tap := &tap{}
	must(t, ns.Do(func() (err error) {
		tap.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	t.Cleanup(func() { unix.Close(tap.fd) })
	must(t, unix.SetsockoptInt(tap.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureRoom))
	must(t, unix.SetsockoptInt(tap.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1))
	if filter != nil {
		must(t, tap.filter(filter))
	}
	to := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL)}
	if iface != "" {
		to.Ifindex = linkIndex(t, ns, iface)
	}
	must(t, unix.Bind(tap.fd, to))
	return tap
}

func (p *tap) filter(program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(p.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
}

// take returns what was captured since the last call.
func (p *tap) take(t *testing.T) []packet {
	t.Helper()
	var all []packet
	buf := make([]byte, 512)
	for {
		n, _, err := unix.Recvfrom(p.fd, buf, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		must(t, err)
		all = append(all, parseFrame(buf[:n]))
	}
	stats, err := unix.GetsockoptTpacketStats(p.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	must(t, err)
	if stats.Drops > 0 {
		t.Fatalf("the capture lost %d frames", stats.Drops)
	}
	return all
}

func htons(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

func linkIndex(t *testing.T, ns *lab.Namespace, name string) int {
	t.Helper()
	link, err := ns.Netlink().LinkByName(name)
	must(t, err)
	return link.Attrs().Index
}
