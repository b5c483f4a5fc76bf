package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// host is a network namespace, and stands for one machine.
type host struct{ ns netns.NsHandle }

// newHost makes a namespace without a name; it ends with the process.
func newHost() (host, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := netns.Get()
	if err != nil {
		return host{}, fmt.Errorf("open the network namespace: %w", err)
	}
	defer before.Close()
	ns, err := netns.New()
	if err != nil {
		return host{}, fmt.Errorf("make a network namespace: %w", err)
	}
	h := host{ns}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		err = fmt.Errorf("set lo up: %w", err)
	}
	return h, errors.Join(err, netns.Set(before))
}

// do calls f on a thread inside the host.
func (h host) do(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := netns.Get()
	if err != nil {
		return fmt.Errorf("open the network namespace: %w", err)
	}
	defer before.Close()
	if err := netns.Set(h.ns); err != nil {
		return fmt.Errorf("enter a network namespace: %w", err)
	}
	return errors.Join(f(), netns.Set(before))
}

// wire joins two hosts with a veth pair, both ends up.
func wire(a host, aName string, b host, bName string) error {
	return a.do(func() error {
		veth := netlink.NewVeth(netlink.LinkAttrs{Name: aName, MTU: 1500})
		veth.PeerName = bName
		veth.PeerNamespace = netlink.NsFd(b.ns)
		if err := netlink.LinkAdd(veth); err != nil {
			return fmt.Errorf("make veth %s-%s: %w", aName, bName, err)
		}
		if err := linkUp(aName); err != nil {
			return err
		}
		return b.do(func() error { return linkUp(bName) })
	})
}

func linkUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

// linkInfo returns an interface's index and Ethernet address.
func linkInfo(name string) (int, cluster.MAC, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return 0, cluster.MAC{}, fmt.Errorf("find %s: %w", name, err)
	}
	return link.Attrs().Index, cluster.MAC(link.Attrs().HardwareAddr), nil
}

// addAddress gives an interface an address; a cluster address as a shoal node
// has it, with host scope.
func addAddress(name string, prefix netip.Prefix, scope netlink.Scope) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	addr, err := netlink.ParseAddr(prefix.String())
	if err != nil {
		return fmt.Errorf("parse %s: %w", prefix, err)
	}
	addr.Scope = int(scope)
	if prefix.Addr().Is6() {
		addr.Scope, addr.Flags = 0, 0x02 // IFA_F_NODAD
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("add %s to %s: %w", prefix, name, err)
	}
	return nil
}

// sysctl sets a value below /proc/sys of the calling thread's namespace.
func sysctl(name, value string) error {
	path := filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/"))
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		return fmt.Errorf("set %s to %s: %w", name, value, err)
	}
	return nil
}

// quiet keeps interfaces that are made later from sending frames of their own.
func quiet() error { return sysctl("net.ipv6.conf.default.disable_ipv6", "1") }

// command runs a program in the calling thread's namespace.
func command(line string) error {
	words := strings.Fields(line)
	return run(exec.Command(words[0], words[1:]...), line)
}

// nft loads a rule set into the calling thread's namespace.
func nft(rules string) error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	return run(cmd, "nft: "+rules)
}

func run(cmd *exec.Cmd, what string) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", what, err, out)
	}
	return nil
}

// buildShoal builds the program in a directory that is to be removed.
func buildShoal() (dir, binary string, err error) {
	if dir, err = os.MkdirTemp("", "shoal-bench-"); err != nil {
		return "", "", err
	}
	binary = filepath.Join(dir, "shoal")
	if err := run(exec.Command("go", "build", "-o", binary, "github.com/shoal-net/shoal/cmd/shoal"), "build shoal"); err != nil {
		return "", "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, binary, nil
}
