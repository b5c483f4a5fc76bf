package failover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/lab"
)

// askTime is how long a node has to answer: it needs no process for that.
const askTime = 50 * time.Millisecond

// answers says whether one of the nodes answers echoes to the cluster address
// that are sent to its own MAC: what clients do that have learned it.
func (r *Rig) answers(nodes []int) (bool, error) {
	for _, id := range nodes {
		answered, err := ask(r.Lab, r.Lab.Nodes[id-1])
		if answered || err != nil {
			return answered, err
		}
	}
	return false, nil
}

const leafLink = "eth0" // of the clients

func ask(l *lab.Lab, n *lab.Node) (answered bool, err error) {
	target := l.ClusterAddresses()[0]
	client := l.ClientAddresses()[0]
	if !target.Is4() {
		return false, errors.New("nodes are asked over IPv4")
	}
	link, err := n.NS.Netlink().LinkByName(nodeLink)
	if err != nil {
		return false, nil // switched off
	}
	to := link.Attrs().HardwareAddr
	var conn *packet.Conn
	var own net.HardwareAddr
	err = l.Clients.Do(func() error {
		eth, err := net.InterfaceByName(leafLink)
		if err != nil {
			return err
		}
		own = eth.HardwareAddr
		conn, err = packet.Listen(eth, packet.Raw, unix.ETH_P_IP, nil)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("open a packet socket: %w", err)
	}
	defer conn.Close()
	const id = 0x5eed
	frame, err := echoFrame(to, own, client, target, id)
	if err != nil {
		return false, err
	}
	if _, err := conn.WriteTo(frame, &packet.Addr{HardwareAddr: to}); err != nil {
		return false, fmt.Errorf("send an echo to %s: %w", n.Name, err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(askTime)); err != nil {
		return false, err
	}
	buf := make([]byte, 1500)
	for {
		size, _, err := conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("await an answer of %s: %w", n.Name, err)
		}
		b := buf[:size]
		if len(b) >= 42 && slices.Equal(b[6:12], to) && b[23] == unix.IPPROTO_ICMP && b[34] == 0 && binary.BigEndian.Uint16(b[38:]) == id {
			return true, nil
		}
	}
}

// echoFrame is an echo request in an Ethernet frame.
func echoFrame(to, from net.HardwareAddr, source, target netip.Addr, id int) ([]byte, error) {
	body, err := (&icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: id, Seq: 1}}).Marshal(nil)
	if err != nil {
		return nil, err
	}
	header := ipv4.Header{Version: 4, Len: ipv4.HeaderLen, TotalLen: ipv4.HeaderLen + len(body), TTL: 64, Protocol: unix.IPPROTO_ICMP,
		Src: source.AsSlice(), Dst: target.AsSlice()}
	ip, err := header.Marshal()
	if err != nil {
		return nil, err
	}
	header.Checksum = int(onesComplement(ip))
	if ip, err = header.Marshal(); err != nil {
		return nil, err
	}
	frame := append(slices.Concat(to, from), 0x08, 0x00)
	return slices.Concat(frame, ip, body), nil
}

// onesComplement is the Internet checksum, RFC 1071.
func onesComplement(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
