//go:build privileged

package dataplane

import (
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/vishvananda/netlink"
)

// A tag that the device has taken out of the frame is a tag all the same. TCX
// sees it; XDP cannot, short of programs bound to one device, so there the
// device must leave tags in (ethtool: rxvlan off).
func TestTagBesideFrame(t *testing.T) {
	enterNamespace(t)
	w, r := newWire(t, 1500), newRig(t, setup{})
	attachRig(t, r, cluster.AttachTCX, w.host.Attrs().Index)
	types := typeProbe(t, w.host.Attrs().Index)
	pushTags(t)
	r.share(-1, Foreign, Owned, goodLease)
	for _, f := range families {
		checkOnWire(t, w, r, cluster.AttachTCX, types, f.name, eth(toCluster, ip(f.client, f.vip, udp(4000, 53))), "pass_vlan")
	}
}

// pushTags has the far end send with a tag that is not in the frame.
func pushTags(t *testing.T) {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R2, int32(binary.NativeEndian.Uint16([]byte{0x81, 0}))),
		asm.Mov.Imm(asm.R3, 100),
		asm.FnSkbVlanPush.Call(),
		asm.Mov.Imm(asm.R0, -1),
		asm.Return(),
	}})
	must(t, err)
	t.Cleanup(func() { prog.Close() })
	far, err := netlink.LinkByName("cable")
	must(t, err)
	l, err := link.AttachTCX(link.TCXOptions{Program: prog, Interface: far.Attrs().Index, Attach: ebpf.AttachTCXEgress})
	must(t, err)
	t.Cleanup(func() { l.Close() })
}
