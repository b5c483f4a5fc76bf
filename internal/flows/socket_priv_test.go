//go:build privileged

package flows

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestCountSockets(t *testing.T) {
	s, c := newSite(t), backend()
	flows, _ := everything(s)
	want := make([]int, c.Hash.Buckets)
	for _, f := range flows {
		if f.state != "TIME_WAIT" {
			want[bucketOf(c, f.client)]++
		}
	}
	f := s.open(c)
	var got []int
	for range 2 { // the second count uses the first one's memory
		var err error
		got, err = f.Count(got)
		s.must(err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("flows by bucket (-want +got)\n%s", diff)
		}
	}
}

func TestDestroySockets(t *testing.T) {
	s, c := newSite(t), backend()
	flows, strangers := everything(s)
	f, want := s.open(c), s.sockets()
	for _, round := range []struct {
		name   string
		chosen func(bucket int) bool
	}{
		{"even buckets", func(bucket int) bool { return bucket%2 == 0 }},
		{"the same again", func(bucket int) bool { return bucket%2 == 0 }},
		{"all buckets", func(int) bool { return true }},
	} {
		var states []string
		flows = slices.DeleteFunc(flows, func(f *flow) bool {
			if !round.chosen(bucketOf(c, f.client)) {
				return false
			}
			states = append(states, f.state)
			delete(want, f.remote)
			return true
		})
		n, err := f.Destroy(round.chosen)
		s.must(err)
		if n != len(states) {
			t.Errorf("%s: %d destroyed, want %d: %v", round.name, n, len(states), states)
		}
		if diff := cmp.Diff(want, s.sockets()); diff != "" {
			t.Errorf("%s: sockets (-want +got)\n%s", round.name, diff)
		}
		for _, f := range flows {
			if f.state == "ESTABLISHED" && f.conn != nil && (!alive(f.far, f.conn) || !alive(f.conn, f.far)) {
				t.Errorf("%s: %s is in another bucket, and dead", round.name, f.remote)
			}
		}
		for _, p := range strangers {
			if !alive(p[0], p[1]) || !alive(p[1], p[0]) {
				t.Errorf("%s: %s to %s is dead", round.name, p[0].LocalAddr(), p[0].RemoteAddr())
			}
		}
		t.Logf("%s: %v", round.name, states)
	}
	for _, k := range kinds { // listeners go on listening
		s.dial(nth(k.clients, 150), netip.AddrPortFrom(k.vip, k.port))
	}
}

// What the program of a destroyed socket sees, MPTCP being what Go listens with
// by default.
func TestDestroyedTCP(t *testing.T) {
	for _, multipath := range []bool{false, true} {
		s := newSite(t)
		var config net.ListenConfig
		config.SetMultipathTCP(multipath)
		l, err := config.Listen(t.Context(), "tcp", ":80")
		s.must(err)
		defer l.Close()
		s.dial(nth(clients4, 1), netip.AddrPortFrom(vip4, 80))
		conn := s.accept(l)
		n, err := s.open(backend()).Destroy(func(int) bool { return true })
		if n != 1 || err != nil {
			t.Errorf("mptcp %t: %d destroyed, %v", multipath, n, err)
		}
		if err := broken(conn); err != unix.ECONNABORTED {
			t.Errorf("mptcp %t: %v, want %v", multipath, err, unix.ECONNABORTED)
		}
	}
}

func TestDestroyUDP(t *testing.T) {
	s, c := newSite(t), backend()
	dial := func(from, to string) *net.UDPConn {
		conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from)), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
		s.must(err)
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	listen, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.10:53")))
	s.must(err)
	defer listen.Close()
	mine := []*net.UDPConn{
		dial("192.0.2.10:1000", "198.51.100.1:9"),
		dial("[2001:db8::10]:1000", "[2001:db8:1::1]:9"),
	}
	others := []*net.UDPConn{
		dial("192.0.2.1:1000", "198.51.100.1:9"),
		dial("192.0.2.10:1001", "10.9.0.2:9"),
		dial("192.0.2.10:1002", "192.0.2.1:9"),
	}
	f := s.open(c)
	counts, err := f.Count(nil)
	s.must(err)
	for bucket, n := range counts {
		if n != 0 {
			t.Errorf("%d flows in bucket %d: UDP sockets do not count", n, bucket)
		}
	}
	n, err := f.Destroy(func(int) bool { return true })
	s.must(err)
	if n != len(mine) {
		t.Errorf("%d destroyed, want %d", n, len(mine))
	}
	for _, conn := range mine {
		if err := broken(conn); err != unix.ECONNABORTED {
			t.Errorf("%s: %v, want %v", conn.LocalAddr(), err, unix.ECONNABORTED)
		}
	}
	for _, conn := range others {
		if _, err := conn.Write(nil); err != nil {
			t.Errorf("%s to %s: %v", conn.LocalAddr(), conn.RemoteAddr(), err)
		}
	}
	if _, err := listen.WriteTo(nil, &net.UDPAddr{IP: net.ParseIP("198.51.100.1"), Port: 9}); err != nil {
		t.Errorf("the unconnected socket: %v", err)
	}
}
