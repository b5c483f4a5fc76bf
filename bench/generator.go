package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/gopacket/gopacket/layers"
	"github.com/shoal-net/shoal/match"
)

const (
	// liveFrames is BPF_F_TEST_XDP_ON_LIVE_FRAMES of linux/bpf.h.
	liveFrames = 1 << 1

	sourceSlots  = 1 << 16
	sourceOffset = 14 + 12 + 2 // the lower half of an IPv4 source address in a frame
	idOffset     = 14 + 4      // the IPv4 identification
)

// sources is the network that generated packets come from.
var sources = netip.MustParsePrefix("198.18.0.0/16")

// generator makes UDP packets to the cluster address, each from the next of a
// list of source addresses, and sends them out of an interface.
type generator struct {
	prog  *ebpf.Program
	list  *ebpf.Map
	frame []byte
}

// newGenerator loads a generator that ends with the given XDP action: xdpTX to
// send, xdpDrop to find what making the frames costs alone. owner picks the
// sources: those that the given node of two handles (numbers from 0).
func newGenerator(action int32, owner int) (*generator, error) {
	g := &generator{}
	var err error
	if g.list, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4 + 2*sourceSlots, MaxEntries: 1}); err != nil {
		return nil, fmt.Errorf("make the list of sources: %w", err)
	}
	value := make([]byte, 4, 4+2*sourceSlots)
	for _, low := range sourcesOf(owner) {
		value = binary.BigEndian.AppendUint16(value, low)
	}
	if err := g.list.Put(uint32(0), value); err != nil {
		return nil, fmt.Errorf("fill the list of sources: %w", err)
	}
	if g.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: g.instructions(action), License: "Dual BSD/GPL"}); err != nil {
		return nil, fmt.Errorf("load the generator: %w", err)
	}
	p := packet{netip.AddrPortFrom(sources.Addr(), 40000), netip.AddrPortFrom(clusterIPv4, 9), layers.IPProtocolUDP, 0}
	if g.frame, err = p.frame(groupMAC); err != nil {
		return nil, err
	}
	// The program writes x into the address and its complement into the
	// identification: their sum stays all ones, as 0 and 0xffff give here, and
	// the header's checksum holds. UDP's own is left out.
	g.frame[idOffset], g.frame[idOffset+1] = 0xff, 0xff
	sum := binary.BigEndian.Uint16(g.frame[14+10:])
	binary.BigEndian.PutUint16(g.frame[14+10:], foldSum(uint32(sum)))
	binary.BigEndian.PutUint16(g.frame[14+20+6:], 0)
	return g, nil
}

// foldSum adds the 0xffff of the new identification to an internet checksum.
func foldSum(sum uint32) uint16 {
	total := ^sum&0xffff + 0xffff
	return ^uint16(total&0xffff + total>>16)
}

// sourcesOf returns the lower halves of addresses that a node of two handles,
// in no order.
func sourcesOf(node int) []uint16 {
	var found []uint16
	hash := match.Hash{Seed: seed}
	base := sources.Addr().As4()
	for low := range sourceSlots {
		addr := netip.AddrFrom4([4]byte{base[0], base[1], byte(low >> 8), byte(low)})
		if match.Bucket(hash.Client(addr), 2) == node {
			found = append(found, uint16(low))
		}
	}
	random := rand.New(rand.NewPCG(seed, 0))
	random.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
	list := make([]uint16, sourceSlots)
	for i := range list {
		list[i] = found[i%len(found)]
	}
	return list
}

// instructions is the generator: index = (*list)++; write the source there.
func (g *generator) instructions(action int32) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Word), // xdp_md.data
		asm.LoadMem(asm.R3, asm.R1, 4, asm.Word), // xdp_md.data_end
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, 60),
		asm.JGT.Reg(asm.R4, asm.R3, "short"),
		asm.LoadMapValue(asm.R5, g.list.FD(), 0),
		asm.LoadMem(asm.R4, asm.R5, 0, asm.Word),
		asm.Mov.Reg(asm.R0, asm.R4),
		asm.Add.Imm(asm.R0, 1),
		asm.StoreMem(asm.R5, 0, asm.R0, asm.Word),
		asm.And.Imm(asm.R4, sourceSlots-1),
		asm.LSh.Imm(asm.R4, 1),
		asm.Add.Reg(asm.R5, asm.R4),
		asm.LoadMem(asm.R0, asm.R5, 4, asm.Half),
		asm.StoreMem(asm.R2, sourceOffset, asm.R0, asm.Half),
		asm.Xor.Imm(asm.R0, 0xffff),
		asm.StoreMem(asm.R2, idOffset, asm.R0, asm.Half),
		asm.Mov.Imm(asm.R0, action),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("short"), // XDP_ABORTED
		asm.Return(),
	}
}

// xdpContext is struct xdp_md of linux/bpf.h, as a test run takes it.
type xdpContext struct {
	Data, DataEnd, DataMeta, Ingress, RxQueue, Egress uint32
}

// send makes that many frames on the calling thread, sends them out of an
// interface of its namespace, and returns the CPU time that it took. What the
// other end of a veth does with them is done by then, on this CPU.
func (g *generator) send(clock packetClock, ifindex, frames int) (time.Duration, error) {
	context := xdpContext{DataEnd: uint32(len(g.frame)), Ingress: uint32(ifindex)}
	start, err := clock.now()
	if err != nil {
		return 0, err
	}
	_, err = g.prog.Run(&ebpf.RunOptions{Data: g.frame, Context: context, Repeat: uint32(frames), Flags: liveFrames})
	if err != nil {
		return 0, fmt.Errorf("send live frames: %w", err)
	}
	end, err := clock.now()
	return end - start, err
}
