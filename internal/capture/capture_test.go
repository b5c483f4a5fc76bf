package capture_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/shoal-net/shoal/internal/capture"
	"github.com/shoal-net/shoal/match"
)

func TestSource(t *testing.T) {
	v4, v6 := ipPacket(t, "192.0.2.1"), ipPacket(t, "2001:db8::1")
	le := func(family uint32) []byte { return binary.LittleEndian.AppendUint32(nil, family) }
	be := func(family uint32) []byte { return binary.BigEndian.AppendUint32(nil, family) }
	for _, c := range []struct {
		name string
		link layers.LinkType
		data []byte
		want string // address or error
	}{
		{"ethernet v4", layers.LinkTypeEthernet, ethernet(v4), "192.0.2.1"},
		{"ethernet v6", layers.LinkTypeEthernet, ethernet(v6), "2001:db8::1"},
		{"vlan", layers.LinkTypeEthernet, ethernet(v4, 0x8100), "192.0.2.1"},
		{"two vlans", layers.LinkTypeEthernet, ethernet(v6, 0x88a8, 0x8100), "2001:db8::1"},
		{"old two vlans", layers.LinkTypeEthernet, ethernet(v4, 0x9100, 0x8100), "192.0.2.1"},
		{"arp", layers.LinkTypeEthernet, arp, "not IP"},
		{"802.3 length", layers.LinkTypeEthernet, join(make([]byte, 12), []byte{0, 46}, make([]byte, 46)), "not IP"},
		{"empty", layers.LinkTypeEthernet, nil, "damaged"},
		{"half a header", layers.LinkTypeEthernet, make([]byte, 13), "damaged"},
		{"half a tag", layers.LinkTypeEthernet, ethernet(v4, 0x8100)[:17], "damaged"},
		{"half an ip header", layers.LinkTypeEthernet, ethernet(v4)[:33], "damaged"},
		{"no more than a header", layers.LinkTypeEthernet, ethernet(v4)[:34], "192.0.2.1"},
		{"half a v6 header", layers.LinkTypeEthernet, ethernet(v6)[:53], "damaged"},
		{"no more than a v6 header", layers.LinkTypeEthernet, ethernet(v6)[:54], "2001:db8::1"},
		{"v6 as v4", layers.LinkTypeEthernet, join(make([]byte, 12), []byte{8, 0}, v6), "damaged"},
		{"sll v4", layers.LinkTypeLinuxSLL, sll(v4), "192.0.2.1"},
		{"sll v6", layers.LinkTypeLinuxSLL, sll(v6), "2001:db8::1"},
		{"sll short", layers.LinkTypeLinuxSLL, sll(v6)[:15], "damaged"},
		{"sll2 v4", layers.LinkTypeLinuxSLL2, sll2(v4), "192.0.2.1"},
		{"sll2 v6", layers.LinkTypeLinuxSLL2, sll2(v6), "2001:db8::1"},
		{"sll2 short", layers.LinkTypeLinuxSLL2, sll2(v6)[:19], "damaged"},
		{"raw v4", layers.LinkTypeRaw, v4, "192.0.2.1"},
		{"raw v6", layers.LinkTypeRaw, v6, "2001:db8::1"},
		{"raw bsd", 12, v4, "192.0.2.1"},
		{"raw openbsd", 14, v6, "2001:db8::1"},
		{"raw empty", layers.LinkTypeRaw, nil, "damaged"},
		{"raw other", layers.LinkTypeRaw, []byte{0}, "not IP"},
		{"ipv4", layers.LinkTypeIPv4, v4, "192.0.2.1"},
		{"ipv6", layers.LinkTypeIPv6, v6, "2001:db8::1"},
		{"null, little-endian", layers.LinkTypeNull, join(le(2), v4), "192.0.2.1"},
		{"null, big-endian", layers.LinkTypeNull, join(be(2), v4), "192.0.2.1"},
		{"null v6 linux", layers.LinkTypeNull, join(le(10), v6), "2001:db8::1"},
		{"null v6 macos", layers.LinkTypeNull, join(le(30), v6), "2001:db8::1"},
		{"loop v6 openbsd", layers.LinkTypeLoop, join(be(24), v6), "2001:db8::1"},
		{"null other", layers.LinkTypeNull, join(le(7), v4), "not IP"},
		{"null short", layers.LinkTypeNull, le(2)[:3], "damaged"},
		{"wireless", layers.LinkTypeIEEE802_11, v4, "link type 105"},
		{"unheard of", 40000, v4, "link type 40000"},
	} {
		addr, err := capture.Source(c.link, c.data)
		if err == nil && addr != netip.MustParseAddr(c.want) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want %s", c.name, addr, err, c.want)
		}
	}
}

// three is a capture of three clients, an ARP request and half a packet, in
// both formats.
func three(t testing.TB) (pcap, pcapng []byte) {
	frames := [][]byte{
		ethernet(ipPacket(t, "192.0.2.1")), arp, ethernet(ipPacket(t, "192.0.2.2"), 0x8100),
		ethernet(ipPacket(t, "2001:db8::1"))[:20], ethernet(ipPacket(t, "2001:db8::1")),
	}
	var ng []frame
	for _, data := range frames {
		ng = append(ng, frame{layers.LinkTypeEthernet, data})
	}
	return pcapFile(t, layers.LinkTypeEthernet, frames...), pcapngFile(t, ng...)
}

// node1 handles 192.0.2.2; node 2 the other clients of three.
var node1 = match.Match{TotalNodes: 2, NodeMask: 1, Seed: 0xdeadbeef}

func share(t testing.TB, file io.Reader, m match.Match) (capture.Tally, []int, error) {
	t.Helper()
	r, err := capture.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var numbers []int
	tally, err := capture.Share(r, m, func(p capture.Packet) error {
		numbers = append(numbers, p.Number)
		return nil
	}, func(capture.Packet) {})
	return tally, numbers, err
}

func TestShare(t *testing.T) {
	pcap, pcapng := three(t)
	for name, file := range map[string][]byte{"pcap": pcap, "pcapng": pcapng} {
		tally, written, err := share(t, bytes.NewReader(file), node1)
		if err != nil || tally.FirstUnknown != nil {
			t.Fatalf("%s: %v, %v", name, err, tally.FirstUnknown)
		}
		got := fmt.Sprint(tally.Nodes, tally.Matched, tally.NotIP, tally.Damaged, tally.Unknown, tally.Total(), written)
		// Lengths on the wire: 100 more than was captured.
		want := "[{1 151} {2 314}] {1 151} {1 142} {1 120} {0 0} {5 727} [3]"
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// A truncated capture is told from a whole one wherever it ends, and the
// packets before the end are counted.
func TestTruncated(t *testing.T) {
	pcap, pcapng := three(t)
	for name, file := range map[string][]byte{"pcap": pcap, "pcapng": pcapng} {
		clean := 0
		for length := range len(file) {
			r, err := capture.NewReader(bytes.NewReader(file[:length]))
			if err != nil {
				if !strings.Contains(err.Error(), "cut short") && !strings.Contains(err.Error(), "empty") {
					t.Errorf("%s of %d bytes: %v", name, length, err)
				}
				continue
			}
			before, start := 0, int64(0)
			tally, err := capture.Share(r, node1, nil, func(p capture.Packet) { before, start = p.Number, p.Offset })
			if uint64(before) != tally.Total().Packets {
				t.Fatalf("%s of %d bytes: %d packets, but %d counted", name, length, before, tally.Total().Packets)
			}
			if err == nil {
				clean++
				continue
			}
			if !strings.HasPrefix(err.Error(), fmt.Sprintf("packet %d, byte ", before+1)) || !strings.Contains(err.Error(), "cut short") {
				t.Errorf("%s of %d bytes, after packet %d at %d: %v", name, length, before, start, err)
			}
		}
		// Whole are those that end behind a pcap header or packet; behind a
		// section's header, an interface or a packet of pcapng.
		if want := map[string]int{"pcap": 5, "pcapng": 11}[name]; clean != want {
			t.Errorf("%s: %d lengths taken for whole, want %d", name, clean, want)
		}
	}
}

func TestPlaceOfTruncation(t *testing.T) {
	pcap, _ := three(t)
	_, _, err := share(t, bytes.NewReader(pcap[:len(pcap)-1]), node1)
	last := len(pcap) - 16 - len(ethernet(ipPacket(t, "2001:db8::1")))
	if want := fmt.Sprintf("packet 5, byte %d: the capture is cut short here", last); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestUnknownLinkTypes(t *testing.T) {
	ip := ipPacket(t, "192.0.2.1")
	_, err := capture.NewReader(bytes.NewReader(pcapFile(t, layers.LinkTypeIEEE802_11, ip)))
	var unknown *capture.LinkTypeError
	if !errors.As(err, &unknown) || unknown.Link != layers.LinkTypeIEEE802_11 {
		t.Errorf("pcap: %v", err)
	}
	tally, _, err := share(t, bytes.NewReader(pcapngFile(t,
		frame{layers.LinkTypeRaw, ip}, frame{layers.LinkTypeIEEE802_11, ip},
		frame{layers.LinkTypeIEEE802_11, ip}, frame{layers.LinkTypeLinuxSLL2, sll2(ip)},
	)), node1)
	if err != nil || tally.Unknown.Packets != 2 || tally.Nodes[1].Packets != 2 {
		t.Errorf("pcapng: %+v, %v", tally, err)
	}
	if tally.FirstUnknown == nil || !strings.HasPrefix(tally.FirstUnknown.Error(), "packet 2, byte ") {
		t.Errorf("pcapng: the first is %v", tally.FirstUnknown)
	}
}

func TestNoCapture(t *testing.T) {
	for file, want := range map[string]string{
		"":                             "the capture is empty",
		"\xd4\xc3":                     "file header: the capture is cut short here",
		"GET / HTTP/1.1":               "neither a pcap nor a pcapng file (it begins with 47455420)",
		"\x1f\x8b\x08\x00":             "neither a pcap nor a pcapng file (it begins with 1f8b0800)",
		"\x0a\x0d\x0d\x0a\x00\x00\x00": "file header: the capture is cut short here",
	} {
		if _, err := capture.NewReader(strings.NewReader(file)); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", file, err, want)
		}
	}
}

// repeat reads what goes before once, and then a record count times.
type repeat struct {
	data, record []byte
	count        int
}

func (r *repeat) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		if r.count == 0 {
			return 0, io.EOF
		}
		r.count--
		r.data = r.record
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

func TestMemoryIsConstant(t *testing.T) {
	const packets = 200_000
	header := len(pcapFile(t, layers.LinkTypeEthernet))
	whole := pcapFile(t, layers.LinkTypeEthernet, ethernet(ipPacket(t, "192.0.2.2")))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := capture.NewReader(&repeat{data: whole[:header], record: whole[header:], count: packets})
	if err != nil {
		t.Fatal(err)
	}
	tally, err := capture.Share(r, node1, func(capture.Packet) error { return nil }, func(capture.Packet) {})
	runtime.ReadMemStats(&after)
	if err != nil || tally.Matched.Packets != packets {
		t.Fatalf("%+v, %v", tally, err)
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 1<<20 {
		t.Errorf("%d bytes allocated for %d packets", allocated, packets)
	}
}

func FuzzShare(f *testing.F) {
	pcap, pcapng := three(f)
	f.Add(pcap)
	f.Add(pcapng)
	f.Add(pcapngFile(f, frame{layers.LinkTypeLinuxSLL, sll(ipPacket(f, "192.0.2.1"))}))
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := capture.NewReader(bytes.NewReader(file))
		if err != nil {
			return
		}
		packets := 0
		tally, _ := capture.Share(r, node1, nil, func(p capture.Packet) { packets = p.Number })
		if tally.Total().Packets != uint64(packets) {
			t.Errorf("%d packets read, %d counted", packets, tally.Total().Packets)
		}
	})
}
