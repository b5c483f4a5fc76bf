package main

import (
	"fmt"
	"net/netip"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// nodeLink is the name of a node's interface on the segment.
const nodeLink = "eth1"

// dropCases lists the peers. All of them decide alike: two nodes, one seed, and
// this is the first.
func dropCases(bpffs string) []dropCase {
	return []dropCase{
		{name: "bare XDP_DROP, native (the floor)", native: true, all: true, setup: dropAll},
		{name: "shoal, attach: native", shoal: true, native: true, setup: shoal(bpffs, cluster.AttachNative)},
		{name: "shoal, attach: generic", shoal: true, setup: shoal(bpffs, cluster.AttachGeneric)},
		{name: "shoal, attach: tcx", shoal: true, setup: shoal(bpffs, cluster.AttachTCX)},
		{name: "nft jhash, netdev ingress", target: 3.5, setup: func() error { return nft(nftIngress) }},
		{name: "nft jhash, prerouting, priority raw", setup: func() error { return nft(nftRaw) }},
		{name: "nft jhash, prerouting, with conntrack", setup: func() error { return nft(nftTracked) }},
		{name: "xt_cluster, iptables-legacy", target: 8, setup: xtCluster("iptables-legacy")},
		{name: "xt_cluster, iptables (nft)", target: 8, setup: xtCluster("iptables-nft")},
	}
}

// joinSegment sets a node's link up as all of the cases need it.
func joinSegment() error {
	for name, value := range map[string]string{
		"net.ipv4.conf.all.rp_filter":                                 "0",
		"net.ipv4.conf." + nodeLink + ".rp_filter":                    "0",
		"net.ipv4.conf.all.drop_unicast_in_l2_multicast":              "0",
		"net.ipv4.conf." + nodeLink + ".drop_unicast_in_l2_multicast": "0",
	} {
		if err := sysctl(name, value); err != nil {
			return err
		}
	}
	if err := addAddress(nodeLink, netip.MustParsePrefix("192.0.2.1/24"), netlink.SCOPE_UNIVERSE); err != nil {
		return err
	}
	if err := addAddress(nodeLink, netip.PrefixFrom(clusterIPv4, 32), netlink.SCOPE_HOST); err != nil {
		return err
	}
	return command("ip route add " + sources.String() + " via 192.0.2.254")
}

// ethtoolValue is struct ethtool_value of linux/ethtool.h.
type ethtoolValue struct{ cmd, data uint32 }

// enableGRO lets the interface take packets in batches, as most drivers do.
func enableGRO(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(fd)
	value := ethtoolValue{unix.ETHTOOL_SGRO, 1}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&value)}
	copy(request.name[:], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return fmt.Errorf("turn GRO on for %s: %w", name, errno)
	}
	return nil
}

// dropAll is the least that a node can do.
func dropAll() error {
	prog, err := returning(ebpf.XDP, xdpDrop)
	if err != nil {
		return err
	}
	l, err := attachXDP(prog, nodeLink, link.XDPDriverMode)
	if err != nil {
		return err
	}
	keep = append(keep, l)
	return nil
}

// keep holds what is attached until the process ends.
var keep []any

func shoal(bpffs string, attach cluster.Attach) func() error {
	return func() error {
		p, err := openPlane(bpffs, planeOptions{name: "drop-" + attach.String(), ifc: nodeLink, attach: attach, mac: groupMAC, buckets: 2})
		if err != nil {
			return err
		}
		p.table[0] = dataplane.Owned
		p.SetTable(1, p.table)
		keep = append(keep, p)
		return nil
	}
}

// xtCluster is the recipe of the manual page.
func xtCluster(program string) func() error {
	rules := fmt.Sprintf(`PROGRAM -A PREROUTING -t mangle -i %[1]s -m cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed %#[2]x -j MARK --set-mark 0xffff
PROGRAM -A PREROUTING -t mangle -i %[1]s -m mark ! --mark 0xffff -j DROP
ip maddr add %[3]s dev %[1]s`, nodeLink, seed, groupMAC)
	return func() error {
		for line := range strings.Lines(strings.ReplaceAll(rules, "PROGRAM", program)) {
			if err := command(line); err != nil {
				return err
			}
		}
		return sysctl("net.netfilter.nf_conntrack_tcp_loose", "0")
	}
}

// The same decision in nftables, as early as it goes, before connection
// tracking, and with it.
var (
	nftIngress = fmt.Sprintf(`table netdev cluster {
	chain ingress {
		type filter hook ingress device "%s" priority 0;
		ip daddr %s jhash ip saddr mod 2 seed %#x != 0 counter drop
	}
}`, nodeLink, clusterIPv4, seed)
	nftRaw = fmt.Sprintf(`table ip cluster {
	chain prerouting {
		type filter hook prerouting priority raw;
		iifname "%s" ip daddr %s jhash ip saddr mod 2 seed %#x != 0 counter drop
	}
}`, nodeLink, clusterIPv4, seed)
	nftTracked = fmt.Sprintf(`table ip cluster {
	chain prerouting {
		type filter hook prerouting priority mangle;
		iifname "%s" ct state invalid drop
		iifname "%s" ip daddr %s jhash ct original ip saddr mod 2 seed %#x != 0 counter drop
	}
}`, nodeLink, nodeLink, clusterIPv4, seed)
)
