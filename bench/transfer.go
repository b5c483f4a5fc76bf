package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/vishvananda/netlink"
)

// transferCase is a client, a switch and a node with a cluster of one.
type transferCase struct {
	name         string
	attach       cluster.Attach // meaningless without shoal
	shoal        bool
	client, node host
	listener     net.Listener
}

// transferResult is the speed of one bulk TCP transfer, in Gbit/s.
type transferResult struct {
	name             string
	upload, download sample
}

// measureTransfers sends bytes over one TCP connection to the cluster address
// and back, for that long each.
func measureTransfers(bpffs string, rounds int, long time.Duration) ([]transferResult, error) {
	cases := []*transferCase{
		{name: "no shoal"},
		{name: "attach: native", shoal: true, attach: cluster.AttachNative},
		{name: "attach: generic", shoal: true, attach: cluster.AttachGeneric},
		{name: "attach: tcx (auto on veth)", shoal: true, attach: cluster.AttachTCX},
	}
	for _, c := range cases {
		if err := c.prepare(bpffs); err != nil {
			return nil, fmt.Errorf("prepare a transfer with %s: %w", c.name, err)
		}
		defer c.listener.Close()
	}
	samples, err := interleave(rounds, 2*len(cases), func(i int) (float64, error) {
		return cases[i/2].measure(i%2 == 0, long)
	})
	if err != nil {
		return nil, err
	}
	var results []transferResult
	for i, c := range cases {
		results = append(results, transferResult{c.name, samples[2*i], samples[2*i+1]})
	}
	return results, nil
}

// prepare wires client, switch and node, and lets the node listen.
func (c *transferCase) prepare(bpffs string) error {
	var err [3]error
	var bridge host
	c.client, err[0] = newHost()
	c.node, err[1] = newHost()
	bridge, err[2] = newHost()
	if err := errors.Join(err[:]...); err != nil {
		return err
	}
	if err := errors.Join(wire(c.client, "eth0", bridge, "port0"), wire(c.node, nodeLink, bridge, "port1")); err != nil {
		return err
	}
	if err := bridge.do(func() error { return makeBridge("port0", "port1") }); err != nil {
		return err
	}
	if err := c.client.do(func() error {
		return addAddress("eth0", netip.MustParsePrefix("192.0.2.100/24"), netlink.SCOPE_UNIVERSE)
	}); err != nil {
		return err
	}
	return c.node.do(func() error { return c.prepareNode(bpffs) })
}

func makeBridge(ports ...string) error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("make a bridge: %w", err)
	}
	for _, name := range ports {
		port, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetMaster(port, bridge)
		}
		if err != nil {
			return fmt.Errorf("add %s to the bridge: %w", name, err)
		}
	}
	return linkUp("br0")
}

// prepareNode orders things as a node does: programs, then the address.
func (c *transferCase) prepareNode(bpffs string) error {
	if err := addAddress(nodeLink, netip.MustParsePrefix("192.0.2.1/24"), netlink.SCOPE_UNIVERSE); err != nil {
		return err
	}
	if c.shoal {
		p, err := openPlane(bpffs, planeOptions{name: "bulk-" + c.attach.String(), ifc: nodeLink, attach: c.attach, mac: unicastMAC, buckets: cluster.DefaultBuckets})
		if err != nil {
			return err
		}
		for i := range p.table {
			p.table[i] = dataplane.Owned
		}
		p.SetTable(1, p.table)
		keep = append(keep, p)
	}
	if err := addAddress(nodeLink, netip.PrefixFrom(clusterIPv4, 32), netlink.SCOPE_HOST); err != nil {
		return err
	}
	var err error
	if c.listener, err = net.Listen("tcp", netip.AddrPortFrom(clusterIPv4, 5201).String()); err != nil {
		return fmt.Errorf("listen on the cluster address: %w", err)
	}
	return nil
}

// measure makes one transfer and returns its Gbit/s, as the receiver saw it.
func (c *transferCase) measure(upload bool, long time.Duration) (float64, error) {
	var client net.Conn
	err := c.client.do(func() error {
		var err error
		client, err = net.DialTimeout("tcp", c.listener.Addr().String(), 10*time.Second)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("connect with %s: %w", c.name, err)
	}
	defer client.Close()
	node, err := c.listener.Accept()
	if err != nil {
		return 0, fmt.Errorf("accept with %s: %w", c.name, err)
	}
	defer node.Close()
	from, to := client, node
	if !upload {
		from, to = node, client
	}
	return transfer(from, to, long)
}

// transfer keeps one end writing for that long, and reads at the other.
func transfer(from, to net.Conn, long time.Duration) (float64, error) {
	failed := make(chan error, 1)
	start := time.Now()
	go func() {
		defer from.Close()
		buf := make([]byte, 256<<10)
		for time.Since(start) < long {
			if _, err := from.Write(buf); err != nil {
				failed <- fmt.Errorf("send: %w", err)
				return
			}
		}
		failed <- nil
	}()
	if err := to.SetReadDeadline(start.Add(long + 30*time.Second)); err != nil {
		return 0, err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{to}, make([]byte, 256<<10))
	took := time.Since(start)
	if err := errors.Join(err, <-failed); err != nil {
		return 0, fmt.Errorf("transfer: %w", err)
	}
	return float64(n) * 8 / 1e9 / took.Seconds(), nil
}
