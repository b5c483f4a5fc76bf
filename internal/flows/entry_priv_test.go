//go:build privileged

package flows

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/ti-mo/conntrack"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/match"
)

// TCP states of entries (enum tcp_conntrack).
const (
	synSent   = 1
	estab     = 3
	finWait   = 4
	closeWait = 5
)

// made is an entry that a test makes.
type made struct {
	protocol        uint8
	state           uint8
	original, reply string // "source port > destination port"
	bucket          int    // -1: none of the cluster's
	counts          bool
}

func direction(t testing.TB, text string) (d tuple) {
	t.Helper()
	var src, dst string
	if _, err := fmt.Sscanf(text, "%s %d > %s %d", &src, &d.sport, &dst, &d.dport); err != nil {
		t.Fatal(err)
	}
	d.src, d.dst = netip.MustParseAddr(src), netip.MustParseAddr(dst)
	return d
}

func (s *site) tracker() *conntrack.Conn {
	s.Helper()
	c, err := conntrack.Dial(nil)
	s.must(err)
	s.Cleanup(func() { c.Close() })
	return c
}

func (s *site) make(c *conntrack.Conn, m made, zone uint16) {
	s.Helper()
	d, r := direction(s, m.original), direction(s, m.reply)
	e := conntrack.NewFlow(m.protocol, conntrack.StatusConfirmed|conntrack.StatusAssured, d.src, d.dst, d.sport, d.dport, 600, 0)
	e.TupleReply.IP = conntrack.IPTuple{SourceAddress: r.src, DestinationAddress: r.dst}
	e.TupleReply.Proto.SourcePort, e.TupleReply.Proto.DestinationPort = r.sport, r.dport
	e.Zone = zone
	if m.protocol == unix.IPPROTO_TCP {
		e.ProtoInfo.TCP = &conntrack.ProtoInfoTCP{State: m.state}
	}
	s.must(c.Create(e))
}

// tracked lists the original directions of all entries.
func (s *site) tracked(c *conntrack.Conn) (found []string) {
	s.Helper()
	all, err := c.Dump(nil)
	s.must(err)
	for _, e := range all {
		o := e.TupleOrig
		found = append(found, fmt.Sprintf("%d %s %d > %s %d zone %d", o.Proto.Protocol,
			o.IP.SourceAddress, o.Proto.SourcePort, o.IP.DestinationAddress, o.Proto.DestinationPort, e.Zone))
	}
	slices.Sort(found)
	return found
}

func (m made) String() string { return fmt.Sprintf("%d %s", m.protocol, m.original) }

// checkEntries counts the entries and destroys them, the even buckets first.
func (s *site) checkEntries(c *cluster.Cluster, entries []made) {
	s.Helper()
	tracker, f := s.tracker(), s.open(c)
	want := make([]int, c.Hash.Buckets)
	var kept []string
	for i, m := range entries {
		zone := uint16(i % 2)
		s.make(tracker, m, zone)
		kept = append(kept, fmt.Sprintf("%s zone %d", m, zone))
		if m.counts {
			want[m.bucket]++
		}
	}
	got, err := f.Count(nil)
	s.must(err)
	if diff := cmp.Diff(want, got); diff != "" {
		s.Errorf("flows by bucket (-want +got)\n%s", diff)
	}
	for _, chosen := range []func(int) bool{func(b int) bool { return b%2 == 0 }, func(int) bool { return true }} {
		gone := len(kept)
		for i, m := range entries {
			if m.bucket >= 0 && chosen(m.bucket) {
				kept = slices.DeleteFunc(kept, func(k string) bool { return k == fmt.Sprintf("%s zone %d", m, i%2) })
			}
		}
		n, err := f.Destroy(chosen)
		s.must(err)
		if gone -= len(kept); n != gone {
			s.Errorf("%d destroyed, want %d", n, gone)
		}
		slices.Sort(kept)
		if diff := cmp.Diff(kept, s.tracked(tracker), cmpopts.EquateEmpty()); diff != "" {
			s.Errorf("entries (-want +got)\n%s", diff)
		}
	}
}

const tcp, udp, sctp = unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP

// Entries of a backend, of which those count that DNAT has made.
func TestBackendEntries(t *testing.T) {
	s, c := newSite(t), backend()
	in := func(client string) int { return bucketOf(c, netip.MustParseAddr(client)) }
	s.checkEntries(c, []made{
		{tcp, estab, "198.51.100.1 4000 > 192.0.2.10 80", "10.9.0.2 80 > 198.51.100.1 4000", in("198.51.100.1"), true},
		{tcp, estab, "2001:db8:1::1 4000 > 2001:db8::10 80", "2001:db8:9::2 80 > 2001:db8:1::1 4000", in("2001:db8:1::1"), true},
		{tcp, estab, "198.51.100.2 4000 > 192.0.2.10 80", "192.0.2.10 8080 > 198.51.100.2 4000", in("198.51.100.2"), true},      // another port
		{tcp, estab, "198.51.100.3 4000 > 192.0.2.10 80", "192.0.2.1 80 > 198.51.100.3 4000", in("198.51.100.3"), true},         // an own address
		{tcp, synSent, "198.51.100.4 4000 > 192.0.2.10 80", "10.9.0.2 80 > 198.51.100.4 4000", in("198.51.100.4"), true},        // unanswered
		{tcp, finWait, "198.51.100.5 4000 > 192.0.2.10 80", "10.9.0.2 80 > 198.51.100.5 4000", in("198.51.100.5"), true},        //
		{tcp, closeWait, "198.51.100.6 4000 > 192.0.2.10 80", "10.9.0.2 80 > 198.51.100.6 4000", in("198.51.100.6"), true},      //
		{tcp, stateTimeWait, "198.51.100.7 4000 > 192.0.2.10 80", "10.9.0.2 80 > 198.51.100.7 4000", in("198.51.100.7"), false}, // has ended
		{tcp, stateClose, "198.51.100.8 4000 > 192.0.2.10 80", "10.9.0.2 80 > 198.51.100.8 4000", in("198.51.100.8"), false},    //
		{tcp, estab, "198.51.100.9 4000 > 192.0.2.10 80", "192.0.2.10 80 > 198.51.100.9 4000", in("198.51.100.9"), false},       // has a socket here
		{udp, 0, "198.51.100.10 4000 > 192.0.2.10 53", "10.9.0.2 53 > 198.51.100.10 4000", in("198.51.100.10"), false},          // moves at once
		{udp, 0, "198.51.100.11 4000 > 192.0.2.10 53", "192.0.2.10 53 > 198.51.100.11 4000", in("198.51.100.11"), false},        //
		{sctp, 0, "198.51.100.12 4000 > 192.0.2.10 7", "10.9.0.2 7 > 198.51.100.12 4000", in("198.51.100.12"), false},           //
		{tcp, estab, "10.9.0.2 4000 > 198.51.100.13 25", "198.51.100.13 25 > 192.0.2.10 4000", in("198.51.100.13"), true},       // sent from the cluster address
		{tcp, estab, "198.51.100.14 4000 > 192.0.2.1 80", "10.9.0.2 80 > 198.51.100.14 4000", -1, false},                        // to an own address
		{tcp, estab, "10.9.0.2 4000 > 192.0.2.10 80", "10.9.0.3 80 > 10.9.0.1 4000", -1, false},                                 // from a container
		{tcp, estab, "192.0.2.1 4000 > 192.0.2.10 80", "10.9.0.2 80 > 192.0.2.1 4000", -1, false},                               // from this host
		{tcp, estab, "10.9.0.2 4001 > 198.51.100.15 80", "198.51.100.15 80 > 192.0.2.1 4001", -1, false},                        // a container's own
		{tcp, estab, "203.0.113.1 4000 > 192.0.2.10 80", "10.9.0.2 80 > 203.0.113.1 4000", in("203.0.113.1"), true},             // no way back
		{tcp, estab, "2001:db8:ff::1 4000 > 2001:db8::10 80", "2001:db8:9::2 80 > 2001:db8:ff::1 4000", in("2001:db8:ff::1"), true},
		{tcp, estab, "2001:db8:9::2 4000 > 2001:db8::10 80", "2001:db8:9::2 80 > 2001:db8:9::1 4000", -1, false},                          //
		{tcp, estab, "2001:db8:1::2 4000 > 2001:db8::10 80", "2001:db8::10 80 > 2001:db8:1::2 4000", in("2001:db8:1::2"), false},          //
		{udp, 0, "2001:db8:1::3 4000 > 2001:db8::10 53", "2001:db8:9::2 53 > 2001:db8:1::3 4000", in("2001:db8:1::3"), false},             //
		{tcp, stateTimeWait, "2001:db8:1::4 4000 > 2001:db8::10 80", "2001:db8:9::2 80 > 2001:db8:1::4 4000", in("2001:db8:1::4"), false}, //
		{tcp, estab, "198.51.100.16 4000 > 198.51.100.17 80", "198.51.100.17 80 > 198.51.100.16 4000", -1, false},                         // passing by
	})
}

// gateway is a gateway whose servers are where a backend has its containers.
func (s *site) gateway() *cluster.Cluster {
	s.Helper()
	ns := s.namespace()
	s.must(netns.Set(s.node))
	s.cable("eth3", ns, []string{"10.8.0.1/24"}, []string{"10.8.0.2/24"})
	c := backend()
	c.Mode = cluster.Gateway
	c.Interfaces = append(c.Interfaces, cluster.Interface{Name: "eth2", Side: cluster.ServerSide, Addresses: []netip.Addr{netip.MustParseAddr("10.9.0.1")}})
	return c
}

func TestGatewayEntries(t *testing.T) {
	s := newSite(t)
	c := s.gateway()
	in := func(client string) int { return bucketOf(c, netip.MustParseAddr(client)) }
	s.checkEntries(c, []made{
		{tcp, estab, "198.51.100.1 4000 > 10.9.0.2 80", "10.9.0.2 80 > 198.51.100.1 4000", in("198.51.100.1"), true},
		{tcp, estab, "2001:db8:1::1 4000 > 2001:db8:9::2 80", "2001:db8:9::2 80 > 2001:db8:1::1 4000", in("2001:db8:1::1"), true},
		{udp, 0, "198.51.100.2 4000 > 10.9.0.2 53", "10.9.0.2 53 > 198.51.100.2 4000", in("198.51.100.2"), true},
		{sctp, 0, "198.51.100.3 4000 > 10.9.0.2 7", "10.9.0.2 7 > 198.51.100.3 4000", in("198.51.100.3"), false},     // moves at once
		{tcp, estab, "10.9.0.2 5000 > 198.51.100.4 25", "198.51.100.4 25 > 10.9.0.2 5000", in("198.51.100.4"), true}, // a server opened it
		{udp, 0, "2001:db8:9::2 5000 > 2001:db8:1::2 53", "2001:db8:1::2 53 > 2001:db8:9::2 5000", in("2001:db8:1::2"), true},
		{tcp, estab, "198.51.100.5 4000 > 192.0.2.10 80", "10.9.0.2 8080 > 198.51.100.5 4000", in("198.51.100.5"), true},      // DNAT
		{tcp, estab, "198.51.100.6 4000 > 10.9.0.2 80", "10.9.0.2 80 > 10.9.0.1 4000", in("198.51.100.6"), true},              // masquerade
		{tcp, stateTimeWait, "198.51.100.7 4000 > 10.9.0.2 80", "10.9.0.2 80 > 198.51.100.7 4000", in("198.51.100.7"), false}, // has ended
		{tcp, estab, "203.0.113.1 4000 > 10.9.0.2 80", "10.9.0.2 80 > 203.0.113.1 4000", in("203.0.113.1"), true},             // no way back
		{tcp, estab, "198.51.100.8 4000 > 203.0.113.2 80", "203.0.113.2 80 > 198.51.100.8 4000", in("198.51.100.8"), true},    // no way there
		{tcp, estab, "203.0.113.1 4000 > 203.0.113.2 80", "203.0.113.2 80 > 203.0.113.1 4000", -1, false},                     // neither
		{tcp, estab, "198.51.100.9 4000 > 192.0.2.10 22", "192.0.2.10 22 > 198.51.100.9 4000", in("198.51.100.9"), false},     // has a socket here
		{tcp, estab, "10.9.0.2 4000 > 10.9.0.1 22", "10.9.0.1 22 > 10.9.0.2 4000", in("10.9.0.1"), false},                     // from the server side: by its destination
		{tcp, estab, "192.0.2.10 4000 > 198.51.100.15 80", "198.51.100.15 80 > 192.0.2.10 4000", in("198.51.100.15"), false},
		{tcp, estab, "198.51.100.10 4000 > 192.0.2.1 22", "192.0.2.1 22 > 198.51.100.10 4000", -1, false},         // to an own address
		{tcp, estab, "10.8.0.2 4000 > 10.9.0.2 80", "10.9.0.2 80 > 10.8.0.2 4000", -1, false},                     // by another link
		{tcp, estab, "10.8.0.2 4000 > 198.51.100.11 80", "198.51.100.11 80 > 192.0.2.1 4000", -1, false},          //
		{tcp, estab, "192.0.2.1 4000 > 198.51.100.12 80", "198.51.100.12 80 > 192.0.2.1 4000", -1, false},         // this host's own
		{tcp, estab, "198.51.100.13 4000 > 198.51.100.14 80", "198.51.100.14 80 > 198.51.100.13 4000", -1, false}, // on one side
	})
}

// Services of a gateway's own: on the server side the client is who is asked.
func TestGatewaySockets(t *testing.T) {
	s := newSite(t)
	c := s.gateway()
	l, err := net.Listen("tcp", ":22")
	s.must(err)
	defer l.Close()
	client, asked := nth(clients4, 1), netip.MustParseAddr("10.9.0.1")
	s.dial(client, netip.AddrPortFrom(vip4, 22))
	var cport uint16
	s.on(s.container, func() {
		far, err := net.Dial("tcp", "10.9.0.1:22")
		s.must(err)
		t.Cleanup(func() { far.Close() })
		cport = far.LocalAddr().(*net.TCPAddr).AddrPort().Port()
	})
	s.accept(l)
	s.accept(l)
	check := func(what string, buckets ...int) {
		t.Helper()
		want := make([]int, c.Hash.Buckets)
		for _, b := range buckets {
			want[b]++
		}
		got, err := s.open(c).Count(nil)
		s.must(err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: flows by bucket (-want +got)\n%s", what, diff)
		}
	}
	check("affinity client", bucketOf(c, client), bucketOf(c, asked))
	c.Hash.Key = cluster.KeyOriginal
	check("key original", bucketOf(c, client), bucketOf(c, container4))
	c.Hash.Key, c.Hash.Affinity, c.Interfaces = cluster.KeySide, cluster.ByFlow, c.Interfaces[1:]
	check("affinity flow", match.Bucket(match.Hash{Seed: c.Hash.Seed}.Flow(match.Flow{
		Client: asked, Server: container4, Protocol: tcp, ClientPort: 22, ServerPort: cport,
	}), c.Hash.Buckets))
}

// The key original takes the bucket from who opened the connection.
func TestOriginalEntries(t *testing.T) {
	s := newSite(t)
	c := s.gateway()
	c.Hash.Key = cluster.KeyOriginal
	in := func(client string) int { return bucketOf(c, netip.MustParseAddr(client)) }
	s.checkEntries(c, []made{
		{tcp, estab, "198.51.100.1 4000 > 10.9.0.2 80", "10.9.0.2 80 > 198.51.100.1 4000", in("198.51.100.1"), true},
		{tcp, estab, "10.9.0.2 5000 > 198.51.100.4 25", "198.51.100.4 25 > 10.9.0.2 5000", in("10.9.0.2"), true},
		{tcp, estab, "198.51.100.5 4000 > 192.0.2.10 80", "10.9.0.2 8080 > 198.51.100.5 4000", in("198.51.100.5"), true},
	})
}

// With affinity flow all that is on the client's side of the wire counts.
func TestFlowEntries(t *testing.T) {
	s := newSite(t)
	c := s.gateway()
	c.Hash.Affinity, c.Hash.Buckets = cluster.ByFlow, 4096
	in := func(client string, cport uint16, server string, sport uint16) int {
		return match.Bucket(match.Hash{Seed: c.Hash.Seed}.Flow(match.Flow{
			Client: netip.MustParseAddr(client), Server: netip.MustParseAddr(server),
			Protocol: tcp, ClientPort: cport, ServerPort: sport,
		}), c.Hash.Buckets)
	}
	s.checkEntries(c, []made{
		{tcp, estab, "198.51.100.1 4000 > 10.9.0.2 80", "10.9.0.2 80 > 198.51.100.1 4000", in("198.51.100.1", 4000, "10.9.0.2", 80), true},
		{tcp, estab, "10.9.0.2 5000 > 198.51.100.4 25", "198.51.100.4 25 > 10.9.0.2 5000", in("198.51.100.4", 25, "10.9.0.2", 5000), true},
		{tcp, estab, "198.51.100.5 4000 > 192.0.2.10 80", "10.9.0.2 8080 > 198.51.100.5 4000", in("198.51.100.5", 4000, "192.0.2.10", 80), true},
		{tcp, estab, "10.9.0.2 4000 > 10.9.0.1 22", "10.9.0.1 22 > 10.9.0.2 4000", in("10.9.0.1", 22, "10.9.0.2", 4000), false},
	})
}

// A connection to a container, through the kernel's own translation.
func TestContainer(t *testing.T) {
	s, c := newSite(t), backend()
	s.sysctl("ipv4/ip_forward", "1")
	s.nft("table ip t { chain c { type nat hook prerouting priority dstnat; ip daddr 192.0.2.10 tcp dport 80 dnat to 10.9.0.2:8080; }; }")
	var l net.Listener
	s.on(s.container, func() {
		var err error
		l, err = net.Listen("tcp4", ":8080")
		s.must(err)
	})
	defer l.Close()
	client := nth(clients4, 1)
	far := s.dial(client, netip.AddrPortFrom(vip4, 80))
	near := s.accept(l)
	f := s.open(c)
	counts, err := f.Count(nil)
	s.must(err)
	want := make([]int, c.Hash.Buckets)
	want[bucketOf(c, client)] = 1
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("flows by bucket (-want +got)\n%s", diff)
	}
	if !alive(far, near) {
		t.Error("dead before it was destroyed")
	}
	if n, err := f.Destroy(func(b int) bool { return b != bucketOf(c, client) }); n != 0 || err != nil {
		t.Errorf("other buckets: %d destroyed, %v", n, err)
	}
	if n, err := f.Destroy(func(b int) bool { return b == bucketOf(c, client) }); n != 1 || err != nil {
		t.Errorf("%d destroyed, %v", n, err)
	}
	if left := s.tracked(s.tracker()); len(left) > 0 {
		t.Errorf("entries left: %v", left)
	}
}

func TestTracking(t *testing.T) {
	s := newSite(t)
	for _, step := range []struct {
		rules  string
		v4, v6 bool
	}{
		{"", false, false},
		{"table ip t { chain c { type filter hook forward priority 0; }; }", false, false},
		{"table ip t { chain c { ct state established accept; }; }", true, false},
		{"table ip6 t { chain c { type nat hook postrouting priority 100; oifname eth9 masquerade; }; }", true, true},
		{"delete table ip t", false, true},
		{"delete table ip6 t", false, false},
		{"table inet t { chain c { type filter hook prerouting priority 0; ct state invalid drop; }; }", true, true},
	} {
		if step.rules != "" {
			s.nft(step.rules)
		}
		for range 2 {
			v4, v6, err := Tracking()
			if v4 != step.v4 || v6 != step.v6 || err != nil {
				t.Errorf("after %q: IPv4 %t, IPv6 %t, %v; want %t, %t", step.rules, v4, v6, err, step.v4, step.v6)
			}
		}
		if left := s.tracked(s.tracker()); len(left) > 0 {
			t.Errorf("after %q: entries left: %v", step.rules, left)
		}
	}
	s.sysctl("ipv6/conf/lo/disable_ipv6", "1")
	if v4, v6, err := Tracking(); !v4 || v6 || err != nil {
		t.Errorf("without IPv6: IPv4 %t, IPv6 %t, %v", v4, v6, err)
	}
}
