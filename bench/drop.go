package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

// dropCase is one way to drop another node's packets, on a host of its own
// behind a veth.
type dropCase struct {
	name   string
	node   host
	ifc    int // the generator's end of the veth
	setup  func() error
	native bool // XDP in the driver: no packet becomes an skb
	all    bool // drops owned packets too
	shoal  bool
	target float64 // how many times shoal's cost it should be; 0: none
}

// dropResult is what a packet costs one CPU, in ns.
type dropResult struct {
	dropCase
	total     sample // generator included
	delivered sample // above a generator that sends nothing
}

// measureDrops sends foreign packets to every node in turn. Generator and
// receiver run on one CPU, and their CPU time together is what is measured.
func measureDrops(bpffs string, rounds, frames int) ([]dropResult, error) {
	bench, err := newDropBench(bpffs)
	if err != nil {
		return nil, err
	}
	var samples []sample
	err = bench.source.do(func() error {
		cpu, unpin, err := pinThread()
		if err != nil {
			return err
		}
		defer unpin()
		if bench.clock, err = newPacketClock(cpu); err != nil {
			return err
		}
		for _, c := range bench.cases {
			if err := bench.verify(c); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		samples, err = interleave(rounds, len(bench.cases)+1, func(i int) (float64, error) { return bench.measure(i, frames) })
		return err
	})
	if err != nil {
		return nil, err
	}
	idle := samples[len(bench.cases)]
	var results []dropResult
	for i, c := range bench.cases {
		results = append(results, dropResult{c, samples[i], samples[i].minus(idle)})
	}
	return results, nil
}

// dropBench is a host with generators and a veth to each case's node.
type dropBench struct {
	source               host
	cases                []dropCase
	foreign, owned, idle *generator
	clock                packetClock
}

func newDropBench(bpffs string) (*dropBench, error) {
	source, err := newHost()
	if err == nil {
		err = source.do(quiet)
	}
	if err != nil {
		return nil, err
	}
	b := &dropBench{source: source, cases: dropCases(bpffs)}
	if err := b.makeGenerators(); err != nil {
		return nil, err
	}
	for i := range b.cases {
		if err := b.prepare(i); err != nil {
			return nil, fmt.Errorf("prepare %s: %w", b.cases[i].name, err)
		}
	}
	return b, nil
}

// makeGenerators loads them, and attaches them to interfaces without traffic.
func (b *dropBench) makeGenerators() error {
	if err := errors.Join(wire(b.source, "dummy0", b.source, "dummy1"), wire(b.source, "dummy2", b.source, "dummy3")); err != nil {
		return err
	}
	for i, g := range []struct {
		to     **generator
		action int32
		owner  int
	}{{&b.foreign, xdpTX, 1}, {&b.owned, xdpTX, 0}, {&b.idle, xdpDrop, 1}} {
		made, err := newGenerator(g.action, g.owner)
		if err != nil {
			return err
		}
		*g.to = made
		err = b.source.do(func() error {
			l, err := attachXDP(made.prog, fmt.Sprintf("dummy%d", i), link.XDPGenericMode)
			keep = append(keep, l)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// prepare makes a case's node: it holds the cluster address, takes packets in
// frames to a group address, and runs what the case is about.
func (b *dropBench) prepare(i int) error {
	c := &b.cases[i]
	var err error
	if c.node, err = newHost(); err != nil {
		return err
	}
	if err := c.node.do(quiet); err != nil {
		return err
	}
	out := fmt.Sprintf("veth%d", i)
	if err := wire(b.source, out, c.node, nodeLink); err != nil {
		return err
	}
	err = b.source.do(func() error {
		c.ifc, _, err = linkInfo(out)
		return err
	})
	if err != nil {
		return err
	}
	return c.node.do(func() error { return c.prepareNode() })
}

func (c *dropCase) prepareNode() error {
	if err := joinSegment(); err != nil {
		return err
	}
	if !c.native {
		// Without a driver program only a veth with GRO takes live frames.
		if err := enableGRO(nodeLink); err != nil {
			return err
		}
	}
	return c.setup()
}

// measure returns the ns for each frame of one run.
func (b *dropBench) measure(i, frames int) (float64, error) {
	if i == len(b.cases) {
		took, err := b.idle.send(b.clock, b.cases[0].ifc, frames)
		return float64(took.Nanoseconds()) / float64(frames), err
	}
	c := b.cases[i]
	arrived, delivered, err := c.sent(b.clock, b.foreign, frames)
	if err != nil {
		return 0, err
	}
	if arrived.frames < uint64(frames)*99/100 || delivered > 0 {
		return 0, fmt.Errorf("%s: of %d foreign frames %d arrived, and %d were let through", c.name, frames, arrived.frames, delivered)
	}
	return float64(arrived.took.Nanoseconds()) / float64(arrived.frames), nil
}

type arrival struct {
	frames uint64
	took   time.Duration
}

// sent sends frames, and returns how many reached the node's interface and how
// many of those its stack delivered.
func (c *dropCase) sent(clock packetClock, g *generator, frames int) (arrival, uint64, error) {
	before, delivered, err := c.counts()
	if err != nil {
		return arrival{}, 0, err
	}
	took, err := g.send(clock, c.ifc, frames)
	if err != nil {
		return arrival{}, 0, err
	}
	after, deliveredAfter, err := c.counts()
	return arrival{after - before, took}, deliveredAfter - delivered, err
}

// verify makes sure that a case drops what is foreign and takes what it owns.
func (b *dropBench) verify(c dropCase) error {
	const frames = 1024
	arrived, delivered, err := c.sent(b.clock, b.foreign, frames)
	if err != nil {
		return err
	}
	if arrived.frames != frames || delivered != 0 {
		return fmt.Errorf("of %d foreign frames %d arrived, and %d were let through", frames, arrived.frames, delivered)
	}
	if c.all {
		return nil
	}
	arrived, delivered, err = c.sent(b.clock, b.owned, frames)
	if err != nil {
		return err
	}
	if arrived.frames != frames || delivered != frames {
		return fmt.Errorf("of %d owned frames %d arrived, and %d were let through", frames, arrived.frames, delivered)
	}
	return nil
}

// counts returns the frames that the node's interface took and the packets that
// its stack delivered.
func (c *dropCase) counts() (frames, delivered uint64, err error) {
	err = c.node.do(func() error {
		link, err := netlink.LinkByName(nodeLink)
		if err != nil {
			return fmt.Errorf("read the counters of %s: %w", nodeLink, err)
		}
		frames = link.Attrs().Statistics.RxPackets
		delivered, err = inDelivers()
		return err
	})
	return frames, delivered, err
}

// inDelivers reads ipInDelivers (RFC 4293) of the calling thread's namespace.
func inDelivers() (uint64, error) {
	text, err := os.ReadFile("/proc/thread-self/net/snmp")
	if err != nil {
		return 0, fmt.Errorf("read the IP statistics: %w", err)
	}
	var names [][]byte
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if string(fields[0]) != "Ip:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, name := range names {
			if string(name) == "InDelivers" {
				return strconv.ParseUint(string(fields[i]), 10, 64)
			}
		}
	}
	return 0, errors.New("read the IP statistics: no InDelivers")
}
