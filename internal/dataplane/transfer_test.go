//go:build privileged

package dataplane

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Of a transfer between real ends at full speed, both ways, no segment fails to
// fit while the bucket drains.
func TestTransferWhileDraining(t *testing.T) {
	for _, s := range []server{servers[0], {"container", container}} {
		for _, mode := range []cluster.Attach{cluster.AttachNative, cluster.AttachTCX} {
			for _, f := range families {
				t.Run(s.name+" "+mode.String()+" "+f.name, func(t *testing.T) {
					n := newNode(t, "old", setup{})
					var l net.Listener
					n.in(func() { l = s.serve(t, f, 1) })
					attachRig(t, n.rigs[0], mode, n.wires[0].host.Attrs().Index)
					n.become(Owned)
					transfer(t, n, l, dialFrom(t, n, f))
					dropped := n.rigs[0].count(t, ingressKind(mode))
					if c := dropped.ByName(); c["drop_not_my_flow"] > 0 || c["handle_my_flow"] == 0 {
						t.Errorf("counted %v", c)
					}
				})
			}
		}
	}
}

// dialFrom puts a real client at the far end of a node's wire, and connects it
// by the cluster MAC.
func dialFrom(t *testing.T, n *node, f family) net.Conn {
	t.Helper()
	far, err := netlink.LinkByName("cable")
	must(t, err)
	enterNamespace(t)
	ns, err := netns.Get()
	must(t, err)
	defer ns.Close()
	n.in(func() { must(t, netlink.LinkSetNsFd(far, int(ns))) })
	bits := f.client.BitLen()
	addAddress(t, "cable", netip.PrefixFrom(f.client, bits))
	far, err = netlink.LinkByName("cable")
	must(t, err)
	must(t, netlink.LinkSetHardwareAddr(far, clientMAC[:]))
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: far.Attrs().Index, Dst: single(f.vip), Scope: netlink.SCOPE_LINK}))
	must(t, netlink.NeighAdd(&netlink.Neigh{LinkIndex: far.Attrs().Index, IP: f.vip.AsSlice(), HardwareAddr: toCluster[:], State: netlink.NUD_PERMANENT}))
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp", netip.AddrPortFrom(f.vip, service).String())
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// transfer moves data both ways while the node's buckets drain, and ends the
// connection.
func transfer(t *testing.T, n *node, l net.Listener, client net.Conn) {
	t.Helper()
	const amount = 64 << 20
	must(t, l.(*net.TCPListener).SetDeadline(time.Now().Add(5*time.Second)))
	host, err := l.Accept()
	must(t, err)
	n.become(Draining)
	done := make(chan error, 4)
	for _, c := range []net.Conn{client, host} {
		must(t, c.SetDeadline(time.Now().Add(time.Minute)))
		go func() {
			_, err := io.CopyN(c, zeros{}, amount)
			if err == nil {
				err = c.(*net.TCPConn).CloseWrite()
			}
			done <- err
		}()
		go func() {
			_, err := io.CopyN(io.Discard, c, amount)
			if err == nil {
				_, err = c.Read(make([]byte, 1)) // the other end's FIN
			}
			if err == io.EOF {
				err = nil
			}
			done <- err
		}()
	}
	for range cap(done) {
		must(t, <-done)
	}
	must(t, host.Close())
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
