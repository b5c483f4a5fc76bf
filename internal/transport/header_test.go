package transport

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/shoal-net/shoal/internal/cluster"
)

func addresses(list ...string) (addrs []netip.Addr) {
	for _, a := range list {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs
}

func TestChooseAddresses(t *testing.T) {
	for _, tt := range []struct {
		name          string
		has           []string
		listed, vips  []netip.Addr
		src, dst, err string
	}{
		{name: "the same subnet before another",
			has:    []string{"10.0.0.2/8", "192.0.2.2/24"},
			listed: addresses("10.0.0.2", "192.0.2.2"), vips: addresses("2001:db8::10", "192.0.2.10"),
			src: "192.0.2.2", dst: "192.0.2.10"},
		{name: "another subnet, where there is nothing else",
			has: []string{"10.0.0.2/8"}, listed: addresses("10.0.0.2"), vips: addresses("192.0.2.10"),
			src: "10.0.0.2", dst: "192.0.2.10"},
		{name: "only what the others know",
			has: []string{"192.0.2.2/24", "192.0.2.3/24"}, listed: addresses("192.0.2.3"), vips: addresses("192.0.2.10"),
			src: "192.0.2.3", dst: "192.0.2.10"},
		{name: "link-local",
			has: []string{"192.0.2.2/24", "fe80::2/64"}, listed: addresses("192.0.2.2", "fe80::2"), vips: addresses("2001:db8::10"),
			src: "fe80::2", dst: "2001:db8::10"},
		{name: "IPv6 of the same subnet before link-local",
			has: []string{"fe80::2/64", "2001:db8::2/64"}, listed: addresses("fe80::2", "2001:db8::2"), vips: addresses("2001:db8::10"),
			src: "2001:db8::2", dst: "2001:db8::10"},
		{name: "IPv4 without a subnet in common before IPv6",
			has: []string{"fe80::2/64", "10.0.0.2/8"}, listed: addresses("fe80::2", "10.0.0.2"), vips: addresses("2001:db8::10", "192.0.2.10"),
			src: "10.0.0.2", dst: "192.0.2.10"},
		{name: "no family in common",
			has: []string{"192.0.2.2/24"}, listed: addresses("192.0.2.2", "fe80::2"), vips: addresses("2001:db8::10"),
			err: "eth0 has none of this node's listed addresses in the family of a cluster address there ([2001:db8::10]): give it one, and list it under nodes"},
		{name: "not listed",
			has: []string{"192.0.2.2/24"}, vips: addresses("192.0.2.10"),
			err: "eth0 has none of this node's listed addresses in the family of a cluster address there ([192.0.2.10]): give it one, and list it under nodes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var has []netip.Prefix
			for _, p := range tt.has {
				has = append(has, netip.MustParsePrefix(p))
			}
			src, dst, err := chooseAddresses(cluster.Interface{Name: "eth0", Addresses: tt.vips}, has, tt.listed)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("got %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || src.String() != tt.src || dst.String() != tt.dst {
				t.Errorf("got %s to %s, %v; want %s to %s", src, dst, err, tt.src, tt.dst)
			}
		})
	}
}

var (
	testFrom = cluster.MAC{0x02, 0, 0, 0, 0, 2}
	testTo   = cluster.MAC{0x02, 0xbf, 192, 0, 2, 10}
)

// TestFrames checks headers and checksums against another implementation.
func TestFrames(t *testing.T) {
	for _, pair := range [][]netip.Addr{addresses("192.0.2.2", "192.0.2.10"), addresses("fe80::2", "2001:db8::10")} {
		header := appendHeader(nil, testFrom, testTo, pair[0], pair[1])
		for size := range 40 {
			payload := bytes.Repeat([]byte{0xfe}, size)
			frame := append(bytes.Clone(header), payload...)
			copy(frame[len(header)-2:], "\xab\xcd") // of the message before
			finish(frame)
			if got, want := frame, reference(t, pair[0], pair[1], payload); !bytes.Equal(got, want) {
				t.Errorf("%s, %d bytes:\ngot  % x\nwant % x", pair[0], size, got, want)
			}
			if got, ok := Payload(append(frame, 0, 0, 0)); !ok || !bytes.Equal(got, payload) {
				t.Errorf("%s, %d bytes: payload % x, %t", pair[0], size, got, ok)
			}
		}
	}
}

func reference(t *testing.T, src, dst netip.Addr, payload []byte) []byte {
	t.Helper()
	udp := &layers.UDP{SrcPort: cluster.HeartbeatPort, DstPort: cluster.HeartbeatPort}
	eth := &layers.Ethernet{SrcMAC: testFrom[:], DstMAC: testTo[:], EthernetType: layers.EthernetTypeIPv6}
	var ip gopacket.SerializableLayer
	if src.Is4() {
		eth.EthernetType = layers.EthernetTypeIPv4
		v4 := &layers.IPv4{Version: 4, TOS: 0xc0, TTL: 255, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocolUDP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		ip = v4
		udp.SetNetworkLayerForChecksum(v4)
	} else {
		v6 := &layers.IPv6{Version: 6, TrafficClass: 0xc0, HopLimit: 255, NextHeader: layers.IPProtocolUDP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		ip = v6
		udp.SetNetworkLayerForChecksum(v6)
	}
	// The layer for Ethernet fills short frames up: that is the driver's to do.
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, ip, udp, gopacket.Payload(payload)); err != nil {
		t.Fatal(err)
	}
	frame := append(append(bytes.Clone(testTo[:]), testFrom[:]...), byte(eth.EthernetType>>8), byte(eth.EthernetType))
	return append(frame, buf.Bytes()...)
}

// A checksum of zero would say that there is none.
func TestChecksumZero(t *testing.T) {
	frame := append(appendHeader(nil, testFrom, testTo, netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.10")), 0, 0)
	finish(frame)
	at := len(frame) - 2
	be.PutUint16(frame[at:], be.Uint16(frame[at-2:])) // complements the sum to ffff
	finish(frame)
	if got := be.Uint16(frame[at-2:]); got != 0xffff {
		t.Errorf("checksum %04x", got)
	}
}

func TestPayloadOfOthers(t *testing.T) {
	whole := reference(t, netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.10"), []byte("message"))
	changed := func(at int, b byte) []byte {
		frame := bytes.Clone(whole)
		frame[at] = b
		return frame
	}
	for name, frame := range map[string][]byte{
		"nothing":           nil,
		"with IP options":   changed(14, 0x46),
		"TCP":               changed(23, 6),
		"ARP":               changed(13, 6),
		"length too long":   changed(39, 16),
		"length too short":  changed(39, 7),
		"IPv6 with version": changed(12, 0x86),
	} {
		if got, ok := Payload(frame); ok {
			t.Errorf("%s: % x", name, got)
		}
	}
	for n := range whole {
		if got, ok := Payload(whole[:n]); ok {
			t.Errorf("cut off after %d bytes: % x", n, got)
		}
	}
}
