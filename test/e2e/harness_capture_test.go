//go:build privileged

package e2e

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/nftables/expr"
	"github.com/shoal-net/shoal/internal/lab"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Room for what is captured between two calls of take, in bytes. A tap fails the
// test where it was not enough.
const captureRoom = 64 << 20

// A prerouting capture holds what passed ingress on a node.
type prerouting struct{ log *lab.PreroutingLog }

// capturePrerouting begins to capture on a node.
func capturePrerouting(t *testing.T, ns *lab.Namespace) *prerouting {
	t.Helper()
	const prefix = "eth"
	log, err := ns.LogPrerouting(lab.LogOptions{Snap: 256, Match: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte(prefix)},
	}})
	must(t, err)
	t.Cleanup(func() { log.Close() })
	return &prerouting{log}
}

// take returns what was captured since the last call.
func (p *prerouting) take(t *testing.T) []packet {
	t.Helper()
	var all []packet
	must(t, p.log.Take(func(l lab.Logged) {
		seen := packet{iface: l.Interface}
		parseIP(l.Packet, &seen)
		all = append(all, seen)
	}))
	return all
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
