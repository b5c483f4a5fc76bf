package capture_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// ipPacket returns a UDP datagram from the address.
func ipPacket(t testing.TB, source string) []byte {
	t.Helper()
	from := net.ParseIP(source)
	udp := &layers.UDP{SrcPort: 1000, DstPort: 53}
	var ip gopacket.SerializableLayer
	if v4 := from.To4(); v4 != nil {
		header := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: v4, DstIP: net.IPv4(198, 51, 100, 1)}
		udp.SetNetworkLayerForChecksum(header)
		ip = header
	} else {
		header := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: from, DstIP: net.ParseIP("2001:db8::53")}
		udp.SetNetworkLayerForChecksum(header)
		ip = header
	}
	buffer := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buffer, options, ip, udp, gopacket.Payload("hello")); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// ethernet puts an Ethernet header in front; tags are EtherTypes of VLAN tags.
func ethernet(packet []byte, tags ...uint16) []byte {
	frame := make([]byte, 12)
	for _, tag := range tags {
		frame = binary.BigEndian.AppendUint16(frame, tag)
		frame = binary.BigEndian.AppendUint16(frame, 42)
	}
	return join(frame, etherType(packet), packet)
}

func etherType(packet []byte) []byte {
	if packet[0]>>4 == 6 {
		return []byte{0x86, 0xdd}
	}
	return []byte{0x08, 0x00}
}

func sll(packet []byte) []byte {
	return join(make([]byte, 14), etherType(packet), packet)
}

func sll2(packet []byte) []byte {
	return join(etherType(packet), make([]byte, 18), packet)
}

var arp = join(make([]byte, 12), []byte{0x08, 0x06}, make([]byte, 28))

// frame is a packet of a capture to be written.
type frame struct {
	link layers.LinkType
	data []byte
}

func info(i int, data []byte) gopacket.CaptureInfo {
	return gopacket.CaptureInfo{
		Timestamp: time.Unix(1700000000+int64(i), 123456789), CaptureLength: len(data), Length: len(data) + 100,
	}
}

// pcapFile writes frames of one link type.
func pcapFile(t testing.TB, link layers.LinkType, frames ...[]byte) []byte {
	t.Helper()
	var file bytes.Buffer
	w := pcapgo.NewWriter(&file)
	if err := w.WriteFileHeader(65536, link); err != nil {
		t.Fatal(err)
	}
	for i, data := range frames {
		if err := w.WritePacket(info(i, data), data); err != nil {
			t.Fatal(err)
		}
	}
	return file.Bytes()
}

// pcapngFile writes frames, each on an interface of its own.
func pcapngFile(t testing.TB, frames ...frame) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := pcapgo.NewNgWriter(&file, layers.LinkTypeEthernet)
	for i, f := range frames {
		if err != nil {
			t.Fatal(err)
		}
		ci := info(i, f.data)
		if ci.InterfaceIndex, err = w.AddInterface(pcapgo.NgInterface{LinkType: f.link, SnapLength: 65536}); err != nil {
			t.Fatal(err)
		}
		err = w.WritePacket(ci, f.data)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}
