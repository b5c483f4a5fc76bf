package main

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/shoal-net/shoal/internal/cluster"
)

// packet is what a frame is made of.
type packet struct {
	src, dst netip.AddrPort
	protocol layers.IPProtocol // TCP: an ACK; UDP: ten bytes
	ack      uint32            // the number that it acknowledges
}

// frame returns the bytes of a packet to an Ethernet address, padded to the 60
// that the shortest frame has.
func (p packet) frame(mac cluster.MAC) ([]byte, error) {
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: mac[:], EthernetType: layers.EthernetTypeIPv4}
	ip4 := &layers.IPv4{Version: 4, TTL: 64, Protocol: p.protocol, SrcIP: p.src.Addr().AsSlice(), DstIP: p.dst.Addr().AsSlice()}
	ip6 := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: p.protocol, SrcIP: p.src.Addr().AsSlice(), DstIP: p.dst.Addr().AsSlice()}
	stack := []gopacket.SerializableLayer{eth, ip4}
	var network gopacket.NetworkLayer = ip4
	if p.src.Addr().Is6() {
		eth.EthernetType = layers.EthernetTypeIPv6
		stack[1], network = ip6, ip6
	}
	switch p.protocol {
	case layers.IPProtocolTCP:
		tcp := &layers.TCP{SrcPort: layers.TCPPort(p.src.Port()), DstPort: layers.TCPPort(p.dst.Port()), ACK: true, Seq: 1, Ack: p.ack, Window: 1024}
		if err := tcp.SetNetworkLayerForChecksum(network); err != nil {
			return nil, err
		}
		stack = append(stack, tcp)
	case layers.IPProtocolUDP:
		udp := &layers.UDP{SrcPort: layers.UDPPort(p.src.Port()), DstPort: layers.UDPPort(p.dst.Port())}
		if err := udp.SetNetworkLayerForChecksum(network); err != nil {
			return nil, err
		}
		stack = append(stack, udp, gopacket.Payload("0123456789"))
	default:
		return nil, fmt.Errorf("no frame for protocol %s", p.protocol)
	}
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, stack...)
	if err != nil {
		return nil, fmt.Errorf("build a frame from %s to %s: %w", p.src, p.dst, err)
	}
	frame := buf.Bytes()
	return append(frame, make([]byte, max(0, 60-len(frame)))...), nil
}
