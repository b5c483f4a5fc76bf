//go:build privileged

package health

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
)

// insideVariable is set in the process that runs in a namespace of its own.
const insideVariable = "SHOAL_TEST_INSIDE"

// TestClusterAddress asks a service on cluster addresses as shoal adds them, in
// the namespace of the process. There is nobody on the link.
func TestClusterAddress(t *testing.T) {
	if os.Getenv(insideVariable) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestClusterAddress$", "-test.v")
		cmd.Env = append(os.Environ(), insideVariable+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	link := clusterLink(t)
	addresses := []netip.Addr{
		netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10"), netip.MustParseAddr("fe80::10%eth1"),
	}
	var checks []cluster.Check
	for _, a := range addresses {
		checks = append(checks, serviceOn(t, a)...)
	}
	checks = append(checks, shell("grep -q eth1 /proc/net/dev", 0))
	for i := range checks {
		checks[i].Interval, checks[i].Timeout, checks[i].Rise, checks[i].Fall = 50*time.Millisecond, time.Second, 1, 3
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	states := Watch(ctx, checks)
	select {
	case got := <-states:
		if diff := cmp.Diff(healthy, got); diff != "" {
			t.Error(diff)
		}
	case <-time.After(long):
		t.Fatal("no state came")
	}
	if err := netlink.LinkDel(link); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-states:
		if got.Healthy || got.Reason == "" {
			t.Errorf("without its addresses: got %+v", got)
		}
	case <-time.After(long + time.Second):
		t.Error("without its addresses the node is healthy")
	}
}

// clusterLink makes a link with cluster addresses.
func clusterLink(t *testing.T) netlink.Link {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	lo, err := netlink.LinkByName("lo")
	must(err)
	must(netlink.LinkSetUp(lo))
	must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth1"}, PeerName: "peer"}))
	link, err := netlink.LinkByName("eth1")
	must(err)
	peer, err := netlink.LinkByName("peer")
	must(err)
	must(netlink.LinkSetUp(peer))
	must(netlink.LinkSetUp(link))
	for address, a := range map[string]*netlink.Addr{
		"192.0.2.10/32":    {Scope: unix.RT_SCOPE_HOST},
		"2001:db8::10/128": {Flags: unix.IFA_F_NODAD},
		"fe80::10/128":     {Flags: unix.IFA_F_NODAD},
	} {
		a.IPNet, err = netlink.ParseIPNet(address)
		must(err)
		must(netlink.AddrAdd(link, a))
	}
	return link
}

// serviceOn starts a service on an address, and returns checks of it.
func serviceOn(t *testing.T, a netip.Addr) []cluster.Check {
	t.Helper()
	at := netip.AddrPortFrom(a, 0).String()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "well") })}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	datagrams, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { datagrams.Close() })
	go func() {
		buffer := make([]byte, 512)
		for {
			n, peer, err := datagrams.ReadFrom(buffer)
			if err != nil {
				return
			}
			var q dnsmessage.Message
			if err := q.Unpack(buffer[:n]); err == nil {
				datagrams.WriteTo(answer(&q, nil, aRecord), peer)
			}
		}
	}()
	// What a socket says of its address has no zone.
	web := netip.AddrPortFrom(a, addrPort(l.Addr()).Port())
	names := netip.AddrPortFrom(a, addrPort(datagrams.LocalAddr()).Port())
	return []cluster.Check{
		{Kind: cluster.CheckTCP, Target: web},
		{Kind: cluster.CheckHTTP, URL: "http://www.example.com/", Target: web, Body: "well",
			Status: []cluster.Range{{First: 200, Last: 200}}},
		{Kind: cluster.CheckDNS, Name: "www.example.com.", Target: names},
	}
}
