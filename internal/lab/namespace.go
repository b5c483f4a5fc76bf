package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const netnsDir = "/run/netns" // where iproute2 keeps named namespaces

// Namespace is a named network namespace.
type Namespace struct {
	Name   string // under /run/netns
	handle netns.NsHandle
	links  *netlink.Handle
	tables atomic.Int32 // of nftables that were added, ever
}

// newNamespace makes a network namespace with the given name.
func newNamespace(name string) (*Namespace, error) {
	ns := &Namespace{Name: name, handle: netns.None()}
	err := onThread(func() (err error) {
		ns.handle, err = netns.NewNamed(name)
		return err
	})
	if err != nil {
		if !errors.Is(err, fs.ErrExist) {
			os.Remove(filepath.Join(netnsDir, name)) // where the mount failed
		}
		return nil, fmt.Errorf("make network namespace %s: %w", name, err)
	}
	if ns.links, err = netlink.NewHandleAt(ns.handle); err != nil {
		return nil, errors.Join(fmt.Errorf("open netlink in %s: %w", name, err), ns.remove())
	}
	return ns, nil
}

// OpenNamespace opens an existing namespace by its name in /run/netns. Nothing
// of it has to be closed; it goes with the process.
func OpenNamespace(name string) (*Namespace, error) {
	handle, err := netns.GetFromName(name)
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", name, err)
	}
	return &Namespace{Name: name, handle: handle}, nil
}

// remove takes the namespace's name away; the kernel frees it with the last
// process and socket in it.
func (ns *Namespace) remove() error {
	if ns.links != nil {
		ns.links.Close()
	}
	path := filepath.Join(netnsDir, ns.Name)
	err := unix.Unmount(path, unix.MNT_DETACH)
	if err == nil || errors.Is(err, unix.EINVAL) { // not mounted: a crash in between
		err = os.Remove(path)
	}
	if ns.handle.IsOpen() {
		err = errors.Join(err, ns.handle.Close())
	}
	if err != nil {
		return fmt.Errorf("remove network namespace %s: %w", ns.Name, err)
	}
	return nil
}

// Do runs f on a thread that is in the namespace. Goroutines that f starts are
// not; sockets and processes that it opens are, and stay there.
func (ns *Namespace) Do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(ns.handle); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", ns.Name, err)
		}
		return f()
	})
}

// onThread runs f, which may change the thread's network namespace, on a
// locked thread, and puts the namespace back. Where that fails the thread
// stays locked, so that it ends with its goroutine and nobody else gets it.
func onThread(f func() error) error {
	runtime.LockOSThread()
	before, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open the present network namespace: %w", err)
	}
	defer before.Close()
	err = f()
	if back := netns.Set(before); back != nil {
		return errors.Join(err, fmt.Errorf("return to the former network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

// Netlink is a route netlink handle in the namespace; nil in one that was
// opened, not made.
func (ns *Namespace) Netlink() *netlink.Handle { return ns.links }

// Sysctl sets a network sysctl: path as below /proc/sys/net.
func (ns *Namespace) Sysctl(path, value string) error {
	return ns.Do(func() error {
		file := filepath.Join("/proc/sys/net", path)
		if err := os.WriteFile(file, []byte(value), 0o644); err != nil {
			return fmt.Errorf("set sysctl in %s: %w", ns.Name, err)
		}
		return nil
	})
}

// Dial connects from a socket in the namespace. The zero local address leaves
// the choice to the kernel.
func (ns *Namespace) Dial(ctx context.Context, network string, local, remote netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	if local.IsValid() {
		switch network {
		case "udp", "udp4", "udp6":
			d.LocalAddr = net.UDPAddrFromAddrPort(local)
		default:
			d.LocalAddr = net.TCPAddrFromAddrPort(local)
		}
	}
	var c net.Conn
	err := ns.Do(func() (err error) {
		c, err = d.DialContext(ctx, network, remote.String())
		return err
	})
	return c, err
}

// Listen listens on a stream socket in the namespace.
func (ns *Namespace) Listen(network, address string) (l net.Listener, err error) {
	err = ns.Do(func() (err error) {
		l, err = net.Listen(network, address)
		return err
	})
	return l, err
}

// ListenPacket opens a packet socket ("udp4", "ip4:icmp", …) in the namespace.
func (ns *Namespace) ListenPacket(network, address string) (c net.PacketConn, err error) {
	err = ns.Do(func() (err error) {
		c, err = net.ListenPacket(network, address)
		return err
	})
	return c, err
}

// Start starts a process in the namespace. It is killed when this process dies.
func (ns *Namespace) Start(cmd *exec.Cmd) error { return forks.start(ns, cmd) }

// Run runs a program in the namespace and returns what it printed on both
// outputs; the error holds it, too.
func (ns *Namespace) Run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := ns.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return out.String(), fmt.Errorf("%s in %s: %w: %s", cmd, ns.Name, err, strings.TrimSpace(out.String()))
	}
	return out.String(), nil
}
