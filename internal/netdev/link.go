// Package netdev sets up the host's side of a cluster: addresses, MAC filters,
// group memberships, sysctls, announcements, connection tracking, and the
// events that say when any of it was taken away.
//
// Everything happens in the network namespace of the calling thread, which in
// an ordinary process is the one namespace of the whole process. A caller that
// switches a thread to another namespace keeps it with runtime.LockOSThread.
//
// All functions may be repeated, and may be called for an interface that is
// gone: the error is then ErrNoLink.
package netdev

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
)

// ErrNoLink means that the interface does not exist, or no longer.
var ErrNoLink = errors.New("no such interface")

// LinkInfo is what the cluster needs to know of an interface.
type LinkInfo struct {
	Name    string
	Index   int
	MAC     cluster.MAC // its own address, not a cluster MAC
	MTU     int         // bytes, without the Ethernet header
	Type    string      // netlink's kind: "veth", "vlan", …; "device" for a physical one
	Up      bool        // set up by the administrator
	Carrier bool        // and able to send: up, with carrier
}

// Link looks up an Ethernet interface by its name.
func Link(name string) (LinkInfo, error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return LinkInfo{}, fmt.Errorf("look up interface %s: %w", name, noLink(err))
	}
	if encap := l.Attrs().EncapType; encap != "ether" {
		return LinkInfo{}, fmt.Errorf("interface %s is not Ethernet but %s; a cluster needs Ethernet frames", name, encap)
	}
	return linkInfo(l), nil
}

func linkInfo(l netlink.Link) LinkInfo {
	a := l.Attrs()
	info := LinkInfo{
		Name:  a.Name,
		Index: a.Index,
		MTU:   a.MTU,
		Type:  l.Type(),
		Up:    a.RawFlags&unix.IFF_UP != 0,
		// The kernel leaves this flag off while the interface is down.
		Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0,
	}
	copy(info.MAC[:], a.HardwareAddr)
	return info
}

// linkName finds the name of the interface with the given index.
func linkName(index int) (string, error) {
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return "", fmt.Errorf("look up interface number %d: %w", index, noLink(err))
	}
	return l.Attrs().Name, nil
}

// noLink turns the kernel's and the netlink library's ways of saying that an
// interface is missing into ErrNoLink, and leaves other errors alone.
func noLink(err error) error {
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
		return ErrNoLink
	}
	return err
}

// gone replaces the error of an act on an interface by ErrNoLink if the
// interface is no longer there. The kernel also says ENODEV where only an
// address family is missing on the interface, so the error alone won't do.
func gone(index int, err error) error {
	if _, missing := linkName(index); errors.Is(missing, ErrNoLink) {
		return ErrNoLink
	}
	return err
}
