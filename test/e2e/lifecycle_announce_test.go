//go:build privileged

package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/lab"
)

// announcements counts, by the address that is announced, who announced it how
// often: gratuitous ARP and unsolicited neighbour advertisements that a client
// hears.
type announcements struct {
	mu sync.Mutex
	by map[netip.Addr]map[cluster.MAC]int
}

func hearAnnouncements(t *testing.T, l *lab.Lab, mac cluster.MAC) *announcements {
	t.Helper()
	a := &announcements{by: map[netip.Addr]map[cluster.MAC]int{}}
	listen(t, l.Clients, "eth0", func(frame []byte) {
		if addr, ok := announced(frame, mac); ok {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.by[addr] == nil {
				a.by[addr] = map[cluster.MAC]int{}
			}
			a.by[addr][cluster.MAC(frame[6:12])]++
		}
	})
	return a
}

// announced reads which address a frame tells all to be at the cluster MAC:
// RFC 5227 section 2.3, RFC 4861 section 7.2.6.
func announced(frame []byte, mac cluster.MAC) (netip.Addr, bool) {
	switch p := parseFrame(frame); {
	case p.arpOp != 0:
		everybody := cluster.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
		return p.to, p.arpOp == arpRequest && p.from == p.to && p.arpMAC == mac && p.ethTo == everybody
	case p.icmpType == advertisement:
		const override, solicited = 0x20, 0x40
		const flags = 14 + 40 + 4 // behind the headers of Ethernet and IPv6
		return p.ndTarget, p.to == netip.MustParseAddr("ff02::1") && p.ndMAC == mac && frame[flags]&(override|solicited) == override
	}
	return netip.Addr{}, false
}

// heard is how often an address was announced, and by how many.
func (a *announcements) heard(addr netip.Addr) (times, senders int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range a.by[addr] {
		times += n
	}
	return times, len(a.by[addr])
}

// When a cluster first takes its addresses, one node announces each, three
// times. When somebody else claims one, that is an alarm on every node, and the
// address is defended.
func TestLifecycleAnnouncements(t *testing.T) {
	l := startLab(t, lab.Options{Nodes: 3, Clients: 4, NoAgents: true})
	vips := l.ClusterAddresses()
	mac := cluster.DefaultMAC(cluster.Unicast, vips[0])
	heard := hearAnnouncements(t, l, mac)
	var nodes []*process
	for _, n := range l.Nodes {
		h := &host{t, l, n.NS, n.Instance}
		nodes = append(nodes, h.up(h.file(fmt.Sprintf("cluster: web\nmode: backend\nnode: %d\nnodes: [{id: 1}, {id: 2}, {id: 3}]\n"+
			"interfaces: [{name: eth1, addresses: [%s]}]\n", n.ID, addressesOf(h)))))
	}
	for _, vip := range vips {
		await(t, fmt.Sprintf("three announcements of %s", vip), func() bool { times, _ := heard.heard(vip); return times >= 3 })
		if times, senders := heard.heard(vip); times != 3 || senders != 1 {
			t.Errorf("%s was announced %d times by %d nodes, want three times by one", vip, times, senders)
		}
	}
	const alarm = "another system claims a cluster address"
	for _, p := range nodes {
		if p.log.count(alarm) > 0 {
			t.Error("there is an alarm before anybody claimed an address")
		}
	}
	for _, vip := range vips {
		claim(t, l, vip)
	}
	for i, p := range nodes {
		p.log.awaitLine(t, 0, alarm)
		s := statusOf(t, l.Nodes[i].NS, l.Nodes[i].Instance)
		if s.Interfaces[0].Counters["alarm_conflict"] != uint64(len(vips)) || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "claimed a cluster address") {
			t.Errorf("%s: counters %v, warnings %q", l.Nodes[i].Name, s.Interfaces[0].Counters, s.Warnings)
		}
	}
	for _, vip := range vips {
		await(t, "the address to be defended", func() bool { times, _ := heard.heard(vip); return times > 3 })
	}
}

// claim announces, from the clients' link, an address with a MAC that is not
// the cluster's.
func claim(t *testing.T, l *lab.Lab, addr netip.Addr) {
	t.Helper()
	liar := []byte{0x02, 0x66, 0, 0, 0, 0x01}
	frame := append(bytes.Repeat([]byte{0xff}, 6), liar...)
	if addr.Is4() {
		frame = append(frame, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, arpRequest)
		frame = append(append(frame, liar...), addr.AsSlice()...)
		frame = append(append(frame, 0, 0, 0, 0, 0, 0), addr.AsSlice()...)
	} else {
		body := append([]byte{advertisement, 0, 0, 0, 0x20, 0, 0, 0}, addr.AsSlice()...)
		body = append(append(body, 2, 1), liar...)
		frame = append(frame, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(body)), unix.IPPROTO_ICMPV6, 255)
		frame = append(append(frame, addr.AsSlice()...), netip.MustParseAddr("ff02::1").AsSlice()...)
		frame = append(frame, body...)
	}
	link, err := l.Clients.Netlink().LinkByName("eth0")
	must(t, err)
	must(t, l.Clients.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index, Halen: 6,
			Protocol: binary.NativeEndian.Uint16(frame[12:])})
	}))
}
