package lab

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
)

const (
	toNode   = "027700000101 027700000002 "
	ipv4TCP  = "0800 4500 0028 0001 4000 4006 0000 0a4d0064 0a4d0101 "
	ipv4Opts = "0800 4600 002c 0001 4000 4006 0000 0a4d0064 0a4d0101 01010101 "
	ipv4UDP  = "0800 4500 0020 0001 4000 4011 0000 0a4d0064 0a4d0101 "
	ipv4Late = "0800 4500 0020 0001 2003 4011 0000 0a4d0064 0a4d0101 "
	ipv4ICMP = "0800 4500 001c 0001 4000 4001 0000 0a4d0064 0a4d0101 "
	ipv6TCP  = "86dd 6000 0000 0014 0640 fd770000000000000000000000000100 fd770000000000000000000000010001 "
	ipv6ICMP = "86dd 6000 0000 0008 3a40 fd770000000000000000000000000100 fd770000000000000000000000010001 "
	synAck   = "1b58 2000 00000000 00000000 5012 0000 0000 0000"
	data     = "1b58 2000 00000000 00000000 5018 0000 0000 0000"
	ports    = "1b58 2000 000c 0000 61626364"
	arp      = "0806 0001 0800 0604 0002 027700000002 0a4d0064 027700000101 0a4d0101"
)

func TestCaptureReadsFrames(t *testing.T) {
	vip4, client4 := netip.MustParseAddr("10.77.0.100"), netip.MustParseAddr("10.77.1.1")
	vip6, client6 := netip.MustParseAddr("fd77::100"), netip.MustParseAddr("fd77::1:1")
	node := [6]byte{2, 0x77, 0, 0, 0, 2}
	for _, test := range []struct {
		name   string
		frame  string
		passed bool // by the filter
		ok     bool
		want   frame
	}{
		{"SYN", ipv4TCP + synAck, true, true, frame{node, protoTCP, vip4, client4, 7000, 8192}},
		{"SYN behind options", ipv4Opts + synAck, true, true, frame{node, protoTCP, vip4, client4, 7000, 8192}},
		{"IPv6 SYN", ipv6TCP + synAck, true, true, frame{node, protoTCP, vip6, client6, 7000, 8192}},
		{"data", ipv4TCP + data, false, true, frame{node, protoTCP, vip4, client4, 7000, 8192}},
		{"IPv6 data", ipv6TCP + data, false, true, frame{node, protoTCP, vip6, client6, 7000, 8192}},
		{"UDP", ipv4UDP + ports, true, true, frame{node, protoUDP, vip4, client4, 7000, 8192}},
		{"later fragment", ipv4Late + ports, true, false, frame{}},
		{"echo reply", ipv4ICMP + "0000 0000 2000 0001", true, true, frame{node, protoICMP, vip4, client4, 8192, 8192}},
		{"IPv6 echo reply", ipv6ICMP + "8100 0000 2000 0001", true, true, frame{node, protoICMP, vip6, client6, 8192, 8192}},
		{"port unreachable", ipv4ICMP + "0303 0000 0000 0000", true, false, frame{}},
		{"neighbour solicitation", ipv6ICMP + "8700 0000 0000 0000", true, false, frame{}},
		{"ARP", arp, false, false, frame{}},
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(toNode+test.frame, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		vm, err := bpf.NewVM(requestFilter)
		if err != nil {
			t.Fatal(err)
		}
		n, err := vm.Run(b)
		if err != nil || (n > 0) != test.passed {
			t.Errorf("%s: the filter passes %d bytes (%v), want some: %v", test.name, n, err, test.passed)
		}
		got, ok := parseFrame(b)
		if ok != test.ok || ok && got != test.want {
			t.Errorf("%s: %+v, %v, want %+v, %v", test.name, got, ok, test.want, test.ok)
		}
		for n := range b { // cut off anywhere: no panic
			parseFrame(b[:n])
		}
	}
}
