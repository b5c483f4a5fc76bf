package flows

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"
)

// Tracking reports whether the kernel tracks connections of IPv4, and of IPv6,
// in this network namespace. It does so only while some rule asks for it
// (nf_ct_netns_get in net/netfilter/nf_conntrack_proto.c), of whatever kind, and
// tells nobody; an idle host has no entries either way. So this sends a datagram
// to itself over the loopback interface and looks whether it is tracked. Rules
// that exempt the loopback interface from tracking (notrack) hide it.
func Tracking() (v4, v6 bool, err error) {
	if v4, err = tracked("127.0.0.1"); err != nil {
		return false, false, fmt.Errorf("find out whether IPv4 connections are tracked: %w", err)
	}
	v6, err = tracked("::1")
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EAFNOSUPPORT) {
		return v4, false, nil // a host without IPv6
	}
	if err != nil {
		return false, false, fmt.Errorf("find out whether IPv6 connections are tracked: %w", err)
	}
	return v4, v6, nil
}

// tracked sends a datagram from the address to itself. It has passed all hooks
// when the system call returns, so that the entry is there or never will be.
func tracked(host string) (bool, error) {
	addr := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), 0))
	to, err := net.ListenUDP("udp", addr)
	if err != nil {
		return false, err
	}
	defer to.Close()
	from, err := net.DialUDP("udp", addr, to.LocalAddr().(*net.UDPAddr))
	if err != nil {
		return false, fmt.Errorf("%w; is the loopback interface up?", err)
	}
	defer from.Close()
	if _, err := from.Write(nil); err != nil {
		return false, err
	}
	if any, err := anyEntries(); err != nil || !any {
		return false, err
	}
	return take(from.LocalAddr().(*net.UDPAddr).AddrPort(), to.LocalAddr().(*net.UDPAddr).AddrPort())
}

// take deletes the entry of a UDP flow; false if there is none.
func take(from, to netip.AddrPort) (bool, error) {
	c, err := conntrack.Dial(nil)
	if err != nil {
		return false, fmt.Errorf("open connection tracking: %w", err)
	}
	defer c.Close()
	err = c.Delete(conntrack.NewFlow(unix.IPPROTO_UDP, 0, from.Addr(), to.Addr(), from.Port(), to.Port(), 0, 0))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look up a tracked connection: %w", err)
	}
	return true, nil
}
