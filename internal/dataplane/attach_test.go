//go:build privileged

package dataplane

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/vishvananda/netlink"
)

func TestInterfaceComesBack(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			enterNamespace(t)
			dir, ifc := newDir(t), newLink(t, "one", 1500)
			p := open(t, dir, testCluster())
			defer p.Close()
			attach(t, p, ifc.with(mode), mode)
			l, err := netlink.LinkByIndex(ifc.Index)
			must(t, err)
			must(t, netlink.LinkDel(l))
			s, err := Inspect(dir)
			must(t, err)
			if s.Interfaces["one"].Attached {
				t.Error("attached to an interface that is gone")
			}
			if _, _, err := p.Attach(ifc.with(mode)); err == nil {
				t.Error("attached to nothing")
			}
			again := newLink(t, "one", 1500)
			attach(t, p, again.with(mode), mode)
			s, err = Inspect(dir)
			must(t, err)
			if got := s.Interfaces["one"]; !got.Attached || got.Mode != mode {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestInterfaceTaken(t *testing.T) {
	enterNamespace(t)
	dir, ifc := newDir(t), newLink(t, "one", 1500)
	p := open(t, dir, testCluster())
	defer p.Close()
	attach(t, p, ifc.with(cluster.AttachTCX), cluster.AttachTCX)
	rival := open(t, filepath.Join(filepath.Dir(dir), "rival"), testCluster())
	defer rival.Close()
	for _, mode := range modes {
		if _, _, err := rival.Attach(ifc.with(mode)); !errors.Is(err, ErrInterfaceTaken) {
			t.Errorf("%s: %v", mode, err)
		}
	}
	if diff := cmp.Diff(sits[cluster.AttachTCX], whatSits(t, ifc)); diff != "" {
		t.Errorf("on the interface (-want +got):\n%s", diff)
	}
	if s, err := Inspect(rival.dir); err != nil || len(s.Interfaces) != 0 {
		t.Errorf("of the rival: %+v, %v", s, err)
	}
}

// passXDP is another program's XDP.
func passXDP(t *testing.T) *ebpf.Program {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R0, 2), asm.Return(),
	}})
	must(t, err)
	t.Cleanup(func() { prog.Close() })
	return prog
}

func TestForeignXDP(t *testing.T) {
	byLink := func(flags link.XDPAttachFlags) func(*testing.T, *ebpf.Program, Interface) {
		return func(t *testing.T, prog *ebpf.Program, ifc Interface) {
			l, err := link.AttachXDP(link.XDPOptions{Program: prog, Interface: ifc.Index, Flags: flags})
			must(t, err)
			t.Cleanup(func() { l.Close() })
		}
	}
	byNetlink := func(flags int) func(*testing.T, *ebpf.Program, Interface) {
		return func(t *testing.T, prog *ebpf.Program, ifc Interface) {
			l, err := netlink.LinkByIndex(ifc.Index)
			must(t, err)
			must(t, netlink.LinkSetXdpFdWithFlags(l, prog.FD(), flags))
		}
	}
	for name, put := range map[string]func(*testing.T, *ebpf.Program, Interface){
		"native link": byLink(link.XDPDriverMode), "generic link": byLink(link.XDPGenericMode),
		"native": byNetlink(4), "generic": byNetlink(2), // XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE
	} {
		t.Run(name, func(t *testing.T) {
			enterNamespace(t)
			dir, ifc := newDir(t), newLink(t, "one", 1500)
			put(t, passXDP(t), ifc)
			there := whatSits(t, ifc).XDP
			p := open(t, dir, testCluster())
			defer p.Close()
			for _, mode := range []cluster.Attach{cluster.AttachNative, cluster.AttachGeneric} {
				if _, _, err := p.Attach(ifc.with(mode)); !errors.Is(err, ErrForeignXDP) {
					t.Errorf("%s: %v", mode, err)
				}
			}
			ifc.Physical = true
			mode, fallback, err := p.Attach(ifc.with(cluster.AttachAuto))
			if mode != cluster.AttachTCX || !errors.Is(fallback, ErrForeignXDP) || err != nil {
				t.Errorf("auto: %v, %v, %v", mode, fallback, err)
			}
			if got := whatSits(t, ifc); got != (attached{there, 1, 1}) {
				t.Errorf("on the interface: %+v", got)
			}
			must(t, removePins(p.interfaceDir("one")))
			if got := whatSits(t, ifc); got != (attached{there, 0, 0}) {
				t.Errorf("on the interface after Detach: %+v", got)
			}
		})
	}
}

func TestSwitchModes(t *testing.T) {
	enterNamespace(t)
	dir, ifc := newDir(t), newLink(t, "one", 9000)
	p := open(t, dir, testCluster())
	defer p.Close()
	for _, from := range modes {
		for _, to := range modes {
			attach(t, p, ifc.with(from), from)
			attach(t, p, ifc.with(to), to)
			s, err := Inspect(dir)
			must(t, err)
			if got := s.Interfaces["one"]; got.Mode != to || !got.Attached {
				t.Errorf("%s to %s: %v", from, to, got.Mode)
			}
		}
	}
	ifc.Physical = true
	attach(t, p, ifc.with(cluster.AttachAuto), cluster.AttachNative)
	ifc.Physical = false
	attach(t, p, ifc.with(cluster.AttachAuto), cluster.AttachTCX)
}

func TestMarkingIsTCX(t *testing.T) {
	enterNamespace(t)
	dir, ifc := newDir(t), newLink(t, "one", 1500)
	c := testCluster()
	c.Action = cluster.Action{Marking: true, Mark: cluster.Mark{Value: 1, Mask: 1}}
	p := open(t, dir, c)
	defer p.Close()
	ifc.Physical = true
	attach(t, p, ifc.with(cluster.AttachAuto), cluster.AttachTCX)
}

func TestOriginalAttaches(t *testing.T) {
	enterNamespace(t)
	dir, ifc := newDir(t), newLink(t, "one", 1500)
	c := testCluster()
	c.Hash.Key = cluster.KeyOriginal
	p := open(t, dir, c)
	defer p.Close()
	for _, mode := range modes {
		attach(t, p, ifc.with(mode), mode)
	}
}
