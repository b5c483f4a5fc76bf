package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/shoal-net/shoal/internal/cluster"
	"golang.org/x/sys/unix"
)

// hook is one place on an interface where a program sits.
type hook struct {
	pin    string // name of the pinned link
	loader loader
	attach func(ifindex int, prog *ebpf.Program) (link.Link, error)
}

var (
	egressHook = hook{"egress", egressLoader, attachEgress}
	typeHook   = hook{"type", typeLoader, attachIngress}

	ingressHooks = map[cluster.Attach]hook{
		cluster.AttachNative:  {"ingress-native", xdpLoader, attachXDP(link.XDPDriverMode)},
		cluster.AttachGeneric: {"ingress-generic", xdpLoader, attachXDP(link.XDPGenericMode)},
		cluster.AttachTCX:     {"ingress-tcx", tcxLoader, attachIngress},
	}
)

func attachXDP(flags link.XDPAttachFlags) func(int, *ebpf.Program) (link.Link, error) {
	return func(ifindex int, prog *ebpf.Program) (link.Link, error) {
		l, err := link.AttachXDP(link.XDPOptions{Program: prog, Interface: ifindex, Flags: flags})
		if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) {
			return nil, fmt.Errorf("%w (%v)", ErrForeignXDP, err)
		}
		return l, err
	}
}

// attachIngress goes before other TCX programs: what is not this node's is
// nothing to them.
func attachIngress(ifindex int, prog *ebpf.Program) (link.Link, error) {
	return link.AttachTCX(link.TCXOptions{Program: prog, Interface: ifindex, Attach: ebpf.AttachTCXIngress, Anchor: link.Head()})
}

// attachEgress goes behind the others, to see what really goes out.
func attachEgress(ifindex int, prog *ebpf.Program) (link.Link, error) {
	return link.AttachTCX(link.TCXOptions{Program: prog, Interface: ifindex, Attach: ebpf.AttachTCXEgress, Anchor: link.Tail()})
}

// Attach puts the programs of one interface in place, or in place of those
// that are pinned. It returns how ingress is attached, and for AttachAuto why
// not natively where it was tried. Errors are ErrInterfaceTaken, ErrForeignXDP
// or what the kernel says.
func (p *Plane) Attach(ifc Interface) (mode cluster.Attach, fallback error, err error) {
	dir := p.interfaceDir(ifc.Name)
	if err := p.checkTaken(ifc, dir); err != nil {
		return 0, nil, fmt.Errorf("%s: %w", ifc.Name, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, nil, fmt.Errorf("make the pin directory: %w", err)
	}
	maps, err := p.interfaceMaps(dir)
	if err != nil {
		return 0, nil, err
	}
	defer maps["counters"].Close()
	put := func(h hook) error { return p.put(h, ifc, dir, maps) }

	if err := put(egressHook); err != nil {
		return 0, nil, err
	}
	mode, fallback, err = p.attachIngress(ifc, dir, put)
	if err != nil {
		return 0, fallback, err
	}
	if mode != cluster.AttachTCX {
		err = put(typeHook)
	} else {
		err = removeLink(filepath.Join(dir, typeHook.pin))
	}
	if err != nil {
		return mode, fallback, err
	}
	return mode, fallback, removeOthers(dir, mode)
}

// attachIngress tries the ways in order: for AttachAuto the driver's own XDP
// where there is one, else TCX.
func (p *Plane) attachIngress(ifc Interface, dir string, put func(hook) error) (cluster.Attach, error, error) {
	want := ifc.Attach
	if p.cluster.Action.Marking {
		want = cluster.AttachTCX // the mark is the skb's
	}
	if want != cluster.AttachAuto {
		return want, nil, putIngress(want, dir, put)
	}
	var fallback error
	if ifc.Physical {
		if fallback = putIngress(cluster.AttachNative, dir, put); fallback == nil {
			return cluster.AttachNative, nil, nil
		}
	}
	return cluster.AttachTCX, fallback, put(ingressHooks[cluster.AttachTCX])
}

// putIngress puts one way of ingress in place. An interface takes one mode of
// XDP at a time: TCX stands in where they change.
func putIngress(mode cluster.Attach, dir string, put func(hook) error) error {
	otherXDP := map[cluster.Attach]cluster.Attach{
		cluster.AttachNative: cluster.AttachGeneric, cluster.AttachGeneric: cluster.AttachNative,
	}
	if other, ok := otherXDP[mode]; ok {
		pin := filepath.Join(dir, ingressHooks[other].pin)
		if info, err := pinnedLink(pin); err != nil || info != nil {
			if err := errors.Join(err, put(ingressHooks[cluster.AttachTCX])); err != nil {
				return err
			}
			if err := removeLink(pin); err != nil {
				return err
			}
		}
	}
	return put(ingressHooks[mode])
}

// put attaches a hook's program, or updates the link that is pinned for it. A
// link whose interface is gone, or another one now, is replaced.
func (p *Plane) put(h hook, ifc Interface, dir string, maps map[string]*ebpf.Map) error {
	prog, err := h.loader.loadProgram(p.cluster, ifc, maps)
	if err != nil {
		return fmt.Errorf("%s: %w", ifc.Name, err)
	}
	defer prog.Close()
	pin := filepath.Join(dir, h.pin)
	old, err := link.LoadPinnedLink(pin, nil)
	if err == nil {
		defer old.Close()
		if info, err := old.Info(); err == nil && linkInterface(info) == ifc.Index {
			if err := old.Update(prog); err != nil {
				return fmt.Errorf("update %s on %s: %w", h.loader.program, ifc.Name, err)
			}
			return nil
		}
		if err := old.Unpin(); err != nil {
			return fmt.Errorf("unpin %s: %w", pin, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open pinned link %s: %w", pin, err)
	}
	l, err := h.attach(ifc.Index, prog)
	if err != nil {
		return fmt.Errorf("attach %s to %s: %w", h.loader.program, ifc.Name, err)
	}
	defer l.Close()
	if err := l.Pin(pin); err != nil {
		return fmt.Errorf("pin %s: %w", pin, err)
	}
	return nil
}

// linkInterface returns the index of the interface that a link is attached to;
// 0: none any more.
func linkInterface(info *link.Info) int {
	if xdp := info.XDP(); xdp != nil {
		return int(xdp.Ifindex)
	}
	if tcx := info.TCX(); tcx != nil {
		return int(tcx.Ifindex)
	}
	return 0
}

// checkTaken looks for another cluster's programs on the interface.
func (p *Plane) checkTaken(ifc Interface, dir string) error {
	mine, err := pinnedLink(filepath.Join(dir, egressHook.pin))
	if err != nil {
		return err
	}
	result, err := link.QueryPrograms(link.QueryOptions{Target: ifc.Index, Attach: ebpf.AttachTCXEgress})
	if err != nil {
		return fmt.Errorf("query programs: %w", err)
	}
	for _, attached := range result.Programs {
		if mine != nil && attached.ID == mine.Program {
			continue
		}
		prog, err := ebpf.NewProgramFromID(attached.ID)
		if err != nil {
			continue // gone in between
		}
		info, err := prog.Info()
		prog.Close()
		if err == nil && info.Name == egressLoader.program {
			return ErrInterfaceTaken
		}
	}
	return nil
}

// pinnedLink reads what is known of a pinned link; nil: there is none.
func pinnedLink(pin string) (*link.Info, error) {
	l, err := link.LoadPinnedLink(pin, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open pinned link %s: %w", pin, err)
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return nil, fmt.Errorf("read link %s: %w", pin, err)
	}
	return info, nil
}

// interfaceMaps returns the cluster's maps and the interface's own counters.
func (p *Plane) interfaceMaps(dir string) (map[string]*ebpf.Map, error) {
	spec, err := loadPacketType()
	if err != nil {
		return nil, err
	}
	counters, _, err := openOrMake(spec.Maps["counters"], filepath.Join(dir, "counters"))
	if err != nil {
		return nil, err
	}
	maps := map[string]*ebpf.Map{"counters": counters}
	for name, m := range p.maps {
		maps[name] = m
	}
	return maps, nil
}

// Attached reports whether the programs that were put on an interface are
// there still.
func (p *Plane) Attached(ifname string, index int) (bool, error) {
	dir := p.interfaceDir(ifname)
	egress, err := pinnedLink(filepath.Join(dir, egressHook.pin))
	if err != nil || egress == nil || linkInterface(egress) != index {
		return false, err
	}
	for _, h := range ingressHooks {
		ingress, err := pinnedLink(filepath.Join(dir, h.pin))
		if err != nil {
			return false, err
		}
		if ingress != nil && linkInterface(ingress) == index {
			return true, nil
		}
	}
	return false, nil
}

// interfaceDir is where an interface's pins are. The BPF file system takes no
// dots in names, and no interface has a colon in its own.
func (p *Plane) interfaceDir(ifname string) string {
	return filepath.Join(p.dir, strings.ReplaceAll(ifname, ".", ":"))
}

// DetachOthers removes the programs and counters of all interfaces but those
// named.
func (p *Plane) DetachOthers(ifnames []string) error {
	keep := make(map[string]bool)
	for _, name := range ifnames {
		keep[p.interfaceDir(name)] = true
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return fmt.Errorf("look into %s: %w", p.dir, err)
	}
	var errs []error
	for _, e := range entries {
		if dir := filepath.Join(p.dir, e.Name()); e.IsDir() && !keep[dir] {
			errs = append(errs, removePins(dir))
		}
	}
	return errors.Join(errs...)
}
