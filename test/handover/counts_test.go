package handover

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestParseCounts(t *testing.T) {
	all := parseCounts([]byte("Tcp: RtoAlgorithm MaxConn OutRsts\nTcp: 1 -1 7\nTcpExt: TCPSynRetrans\nTcpExt: 3\n"))
	for name, want := range map[string]int{"TcpRtoAlgorithm": 1, "TcpMaxConn": -1, resetsSent: 7, synsRepeated: 3} {
		if got, ok := all[name]; !ok || got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
}

func TestParseReset(t *testing.T) {
	ports := []byte{0, 80, 16, 1}
	v4 := append([]byte{0x46, 19: 0, 20: 0, 23: 0}, ports...)
	copy(v4[12:], []byte{10, 77, 0, 100, 10, 77, 1, 1})
	v6 := append(make([]byte, 40), ports...)
	v6[0] = 0x60
	from, to := netip.MustParseAddr("fd77::100").As16(), netip.MustParseAddr("fd77::1:1").As16()
	copy(v6[8:], from[:])
	copy(v6[24:], to[:])
	for _, tt := range []struct {
		packet   []byte
		from, to string
	}{
		{v4, "10.77.0.100:80", "10.77.1.1:4097"},
		{v6, "[fd77::100]:80", "[fd77::1:1]:4097"},
	} {
		r, ok := parseReset(tt.packet)
		if !ok || r.From.String() != tt.from || r.To.String() != tt.to {
			t.Errorf("%x: %v, %v", tt.packet, r, ok)
		}
		for n := range tt.packet {
			if _, ok := parseReset(tt.packet[:n]); ok {
				t.Errorf("%x: cut off after %d, and read", tt.packet, n)
			}
		}
	}
}

// A SYN that was sent again is explained where it was sent during a change, or
// just after its command returned; or else while a processor stood still.
func TestExplain(t *testing.T) {
	r := &Result{windows: []window{{time.Second, 2 * time.Second}, {1500 * time.Millisecond, 1600 * time.Millisecond}},
		stalls: []window{{0, 999 * time.Millisecond}, {2 * time.Second, 4 * time.Second}}}
	for sent, want := range map[time.Duration][3]int{
		999 * time.Millisecond: {0, 1, 0}, time.Second: {1, 0, 0}, 1550 * time.Millisecond: {1, 0, 0},
		2*time.Second + flushTime: {1, 0, 0}, 2*time.Second + flushTime + 1: {0, 1, 0}, 5 * time.Second: {0, 0, 1},
	} {
		r.Syns = []Syn{{Sent: sent, Repeats: 1}}
		if changing, stalled, rest := r.Explain(); [3]int{changing, stalled, rest} != want {
			t.Errorf("sent after %v: %d, %d, %d, want %v", sent, changing, stalled, rest, want)
		}
	}
}

func TestParseSteal(t *testing.T) {
	all := parseSteal("cpu  1 2 3 4 5 6 7 30 0 0\ncpu0 1 2 3 4 5 6 7 10 0 0\ncpu1 1 2 3 4 5 6 7 20 0 0\nintr 1 2 3 4 5 6 7 8 9\n")
	if !slices.Equal(all, []time.Duration{100 * time.Millisecond, 200 * time.Millisecond}) {
		t.Errorf("%v", all)
	}
}

func TestPaceOf(t *testing.T) {
	p := PaceOf([]Slice{{3, 625_000_000}, {0, 0}, {1, 0}, {0, 0}}) // 0.2 s
	if p.Worst != 3 || p.Touched != 0.5 || p.Repeated < 19.99 || p.Repeated > 20.01 || p.Gbps < 24.99 || p.Gbps > 25.01 {
		t.Errorf("%+v", p)
	}
}
