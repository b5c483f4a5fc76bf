//go:build privileged

package dataplane

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/shoal-net/shoal/internal/cluster"
)

// sent is a frame that goes out.
type sent struct {
	name    string
	with    setup
	frame   []byte
	key     key
	want    string
	foreign string
	noLease string // without a lease, or with one that the table is too old for; "": as want
	out     []byte // nil: unchanged
}

func egressRows() []sent {
	fence := func(name string, with setup, k key, p payload) sent {
		return sent{name: name, with: with, key: k, frame: ethFrom(ownMAC, clientMAC, p), want: "sent_owned",
			foreign: "drop_sent_foreign", noLease: "drop_sent_no_lease"}
	}
	plain := func(name string, frame []byte) sent { return sent{name: name, frame: frame, want: "sent_other"} }
	group := func(name string, p payload) sent {
		return sent{name: name, frame: ethFrom(ownMAC, cluster.MAC{1}, p), want: "sent_owned", noLease: "drop_sent_no_lease"}
	}
	broken := func(name string, p payload) sent {
		return sent{name: name, frame: ethFrom(ownMAC, clientMAC, p), want: "drop_sent_foreign"}
	}
	var rows []sent
	for _, f := range families {
		out := func(p payload, opts ...ipOption) payload { return ip(f.vip, f.client, p, opts...) }
		about := ip(f.client, f.vip, udp(4000, 53))
		last := payload{proto: 17, data: someData}
		lastFragment := out(last, piece(48, false))
		if f.v6 {
			lastFragment = out(fragment6(48, false, last))
		}
		for _, r := range []sent{
			fence("tcp", clientSide, by(f.client), out(tcp(80, 4000, syn|ack))),
			fence("udp", clientSide, by(f.client), out(udp(53, 4000))),
			fence("echo reply", clientSide, by(f.client), out(echoReply(f.v6))),
			fence("reset", clientSide, by(f.client), out(tcp(80, 4000, rst|ack))),
			fence("port unreachable", clientSide, by(f.client), out(unreachable(about))),
			fence("port unreachable, flow", flow, byFlow(17, f.client, 4000, f.vip, 53), out(unreachable(about))),
			fence("fragment", clientSide, by(f.client), lastFragment),
			fence("fragment, flow", flow, byFlow(17, f.client, 0, f.vip, 0), lastFragment),
			fence("tcp, flow", flow, byFlow(6, f.client, 4000, f.vip, 80), out(tcp(80, 4000, ack))),
			fence("tcp, network", network, byNetwork(f.client), out(tcp(80, 4000, ack))),
			fence("tcp, server side", serverSide, by(f.vip), ip(f.vip, f.server, tcp(4000, 80, syn))),
			fence("from another interface's cluster address", clientSide, by(f.client), ip(f.otherVIP, f.client, udp(53, 4000))),
			plain("from the own address", ethFrom(ownMAC, clientMAC, ip(f.own, f.client, tcp(22, 4000, ack)))),
			plain("forwarded", ethFrom(ownMAC, clientMAC, ip(f.server, f.client, tcp(80, 4000, ack)))),
			plain("heartbeat", ethFrom(ownMAC, toCluster, ip(f.own, f.vip, udp(7625, 7625), ttl(255)))),
			plain("own echo", ethFrom(ownMAC, clientMAC, ip(f.own, f.client, echo(f.v6)))),
			plain("malformed from the own address", ethFrom(ownMAC, clientMAC, ip(f.own, f.client, payload{proto: 17, data: []byte{1}}))),
			broken("malformed", out(payload{proto: 17, data: []byte{1}})),
			plain("802.1Q", ethFrom(ownMAC, clientMAC, tagged(0x8100, out(udp(53, 4000))))),
		} {
			r.name = f.name + " " + r.name
			rows = append(rows, r)
		}
	}
	return append(rows, append(speakingRows(),
		group("v4 to a group", ipv4(vip4, addr("224.0.0.251"), udp(5353, 5353))),
		group("v4 broadcast", ipv4(vip4, addr("255.255.255.255"), udp(1, 2))),
		group("v6 to a group", ipv6(vip6, addr("ff02::fb"), udp(5353, 5353))),
		broken("v6 nine extensions", ipv6(vip6, client6, chain(9, udp(53, 4000)))),
		plain("unknown EtherType", ethFrom(ownMAC, clientMAC, payload{proto: 0x88cc, data: someData})),
		plain("arp cut off", ethFrom(ownMAC, broadcast, arp(reply, ownMAC, vip4, clientMAC, client4))[:41]),
	)...)
}

// speakingRows are ARP and neighbour discovery that may speak for a cluster address.
func speakingRows() []sent {
	says := func(name, want string, from, to []byte) sent {
		return sent{name: name, want: want, noLease: "drop_sent_no_lease", frame: from, out: to}
	}
	arpRow := func(name string, dst cluster.MAC, op uint16, target string) sent {
		a := func(mac cluster.MAC) []byte {
			return ethFrom(ownMAC, dst, arp(op, mac, vip4, noMAC, addr(target)))
		}
		return says(name, "sent_arp", a(ownMAC), a(toCluster))
	}
	nd := func(name string, speaker string, message func(mac cluster.MAC) payload) sent {
		f := func(mac cluster.MAC) []byte {
			return ethFrom(ownMAC, clientMAC, ipv6(addr(speaker), client6, message(mac), ttl(255)))
		}
		return says(name, "sent_nd", f(ownMAC), f(toCluster))
	}
	own := func(name string, message payload) sent {
		return sent{name: name, want: "sent_other", frame: ethFrom(ownMAC, clientMAC, ipv6(own6, client6, message, ttl(255)))}
	}
	vip := vip6.String()
	stale := nd("solicitation with a third MAC", vip, func(cluster.MAC) payload { return solicit(client6, sourceMAC(peerMAC)) })
	return []sent{
		arpRow("arp reply", clientMAC, reply, client4.String()),
		arpRow("arp request", broadcast, request, client4.String()),
		arpRow("gratuitous arp request", broadcast, request, vip4.String()),
		arpRow("gratuitous arp reply", broadcast, reply, vip4.String()),
		{name: "arp of the own address", want: "sent_other", frame: ethFrom(ownMAC, broadcast, arp(request, ownMAC, own4, noMAC, client4))},
		{name: "arp for the cluster address", want: "sent_other", frame: ethFrom(ownMAC, broadcast, arp(request, ownMAC, own4, noMAC, vip4))},
		nd("advertisement", vip, func(m cluster.MAC) payload { return advertise(vip6, targetMAC(m)) }),
		nd("advertisement from the own address", own6.String(), func(m cluster.MAC) payload { return advertise(vip6, targetMAC(m)) }),
		nd("advertisement, option second", vip, func(m cluster.MAC) payload { return advertise(vip6, nonce(), targetMAC(m)) }),
		nd("advertisement without options", vip, func(m cluster.MAC) payload { return advertise(vip6) }),
		nd("solicitation", vip, func(m cluster.MAC) payload { return solicit(client6, sourceMAC(m)) }),
		nd("solicitation, option last", vip, func(m cluster.MAC) payload { return solicit(client6, nonce(), nonce(), sourceMAC(m)) }),
		nd("solicitation without options", vip, func(m cluster.MAC) payload { return solicit(client6) }),
		nd("router solicitation", vip, func(m cluster.MAC) payload { return icmp(true, 133, 0, u32(0), sourceMAC(m)) }),
		nd("redirect", vip, func(m cluster.MAC) payload {
			return icmp(true, 137, 0, u32(0), own6.AsSlice(), server6.AsSlice(), targetMAC(m))
		}),
		stale,
		own("solicitation from the own address", solicit(client6, sourceMAC(ownMAC))),
		own("solicitation for the cluster address", solicit(vip6, sourceMAC(ownMAC))),
		own("advertisement of the own address", advertise(own6, targetMAC(ownMAC))),
		own("router solicitation from the own address", icmp(true, 133, 0, u32(0), sourceMAC(ownMAC))),
	}
}

func TestEgressTable(t *testing.T) {
	enterNamespace(t)
	loaded := make(rigs)
	rows := egressRows()
	for _, row := range rows {
		row.check(t, loaded.get(t, row.with))
	}
	t.Logf("%d rows, %d sets of constants", len(rows), len(loaded))
}

func (row sent) check(t *testing.T, r *rig) {
	t.Helper()
	foreign, noLease := row.foreign, row.noLease
	if foreign == "" {
		foreign = row.want
	}
	if noLease == "" {
		noLease = row.want
	}
	bucket := r.bucket(row.key)
	for _, c := range []struct {
		name         string
		mine, others State
		force        inForce
		want         string
	}{
		{"owned", Owned, Foreign, goodLease, row.want},
		{"acquiring", Acquiring, Foreign, goodLease, row.want},
		{"draining", Draining, Foreign, goodLease, row.want},
		{"foreign", Foreign, Owned, goodLease, foreign},
		{"no lease yet", Owned, Foreign, inForce{5, 5, 0}, noLease},
		{"lease over", Owned, Foreign, inForce{5, 5, -time.Millisecond}, noLease},
		{"older table", Owned, Foreign, inForce{4, 5, time.Hour}, noLease},
	} {
		r.share(bucket, c.mine, c.others, c.force)
		got := r.run(t, inEgress, row.frame)
		if got.counted != c.want || got.passed != goesOn(c.want) {
			t.Errorf("%s, %s: counted %q, want %q, passed %t", row.name, c.name, got.counted, c.want, got.passed)
			continue
		}
		if got.passed {
			row.checkOut(t, c.name, got.out)
		}
	}
}

func (row sent) checkOut(t *testing.T, name string, out []byte) {
	t.Helper()
	want := row.out
	if want == nil {
		want = row.frame
	}
	if !bytes.Equal(out, want) {
		t.Errorf("%s, %s: out\n%s want\n%s", row.name, name, hex.Dump(out), hex.Dump(want))
	}
	if row.want == "sent_nd" {
		checkICMP6(t, row.name, out)
	}
}

// checkICMP6 has gopacket compute the checksum anew.
func checkICMP6(t *testing.T, name string, frame []byte) {
	t.Helper()
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	ip, ok := p.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
	icmp, ok2 := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
	if !ok || !ok2 {
		t.Fatalf("%s: not ICMPv6: %s", name, p)
	}
	was := icmp.Checksum
	if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{ComputeChecksums: true}, icmp, gopacket.Payload(slices.Clone(icmp.Payload)))
	if err != nil {
		t.Fatal(err)
	}
	if right := be.Uint16(buf.Bytes()[2:]); was != right {
		t.Errorf("%s: checksum %#x, gopacket says %#x", name, was, right)
	}
}
