package netdev

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ForgetUnresolved forgets the neighbours of an interface whose link-layer
// addresses the kernel is asking for, and the packets that wait for an answer.
// The next packet to one of them asks anew, and at once.
//
// A node without a lease gets no answers: what it asks in the name of a cluster
// address is not let out. The kernel repeats a question a second later
// (retrans_time_ms), and for so long everything that the node sends to that
// neighbour waits, also when the node has got its lease meanwhile. That is
// what it sends to all clients, where a router is the neighbour.
func ForgetUnresolved(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("look up interface %s: %w", name, noLink(err))
	}
	neighbours, err := netlink.NeighList(l.Attrs().Index, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list the neighbours of %s: %w", name, err)
	}
	for _, n := range neighbours {
		if n.State != netlink.NUD_INCOMPLETE {
			continue
		}
		if failed := netlink.NeighDel(&n); failed != nil && !errors.Is(failed, unix.ENOENT) { // it has answered
			err = errors.Join(err, fmt.Errorf("forget neighbour %s of %s: %w", n.IP, name, failed))
		}
	}
	return err
}
