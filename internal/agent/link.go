package agent

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/netdev"
)

// attached is one interface of the cluster as it is on the host.
type attached struct {
	config cluster.Interface
	bit    int
	link   netdev.LinkInfo // as last set up; the zero value: not set up
	filter *netdev.Filter
	failed string // what was last logged, so that it is not logged every second

	announcements int    // still to be sent
	conflicts     uint64 // as last read
	disputed      bool   // they have grown, and the address was not defended yet
	defended      time.Time

	advertisements int // multicast router advertisements sent
	advertised     time.Time
}

// ensureAll sets right what is not as it is to be, and logs what cannot be.
func (a *Agent) ensureAll() {
	for _, l := range a.links {
		err := a.ensure(l)
		switch {
		case err == nil:
			l.failed = ""
		case err.Error() != l.failed:
			l.failed = err.Error()
			a.log.Warn("interface is not in order", "interface", l.config.Name, "error", err)
		}
	}
}

// ensure makes an interface what it is to be: programs, then the MAC filter,
// then the addresses, so that no packet comes in undecided.
func (a *Agent) ensure(l *attached) error {
	info, err := netdev.Link(l.config.Name)
	if err != nil {
		if l.link.Index != 0 && errors.Is(err, netdev.ErrNoLink) {
			a.forget(l)
		}
		return err
	}
	attached, err := a.plane.Attached(l.config.Name, info.Index)
	if err != nil {
		return err
	}
	if !attached && info.Index == l.link.Index {
		a.log.Error("somebody took the programs away: putting them back", "interface", l.config.Name)
	}
	if !attached || info.Index != l.link.Index || info.MAC != l.link.MAC {
		if err := a.attach(l, info); err != nil {
			return err
		}
	}
	return a.ensureAddresses(l)
}

// forget lets go of an interface that is gone.
func (a *Agent) forget(l *attached) {
	l.filter.Close()
	l.filter, l.link = nil, netdev.LinkInfo{}
}

func (a *Agent) attach(l *attached, info netdev.LinkInfo) error {
	if slices.ContainsFunc(l.config.Addresses, netip.Addr.Is4) {
		if err := netdev.CheckARP(l.config.Name); err != nil {
			return err
		}
	}
	mode, fallback, err := a.plane.Attach(dataplane.Interface{
		Interface: l.config,
		Index:     info.Index,
		OwnMAC:    info.MAC,
		Physical:  info.Type == "device",
		Bit:       l.bit,
	})
	if err != nil {
		return err
	}
	if fallback != nil {
		a.log.Info("no native XDP here", "interface", l.config.Name, "reason", fallback)
	}
	filter, err := netdev.OpenFilter(info.Index, l.config.L2, l.config.MAC, slices.ContainsFunc(l.config.Addresses, netip.Addr.Is6))
	if err != nil {
		return err
	}
	if l.filter != nil {
		l.filter.Close()
	}
	l.filter, l.link = filter, info
	l.advertisements, l.advertised = 0, time.Time{}
	l.announcements = announceTimes
	if l.conflicts, err = a.plane.Conflicts(l.config.Name); err != nil {
		return err
	}
	// An interface that came back has its sysctls anew.
	if err := a.setSysctls(); err != nil {
		l.link = netdev.LinkInfo{} // so that it is tried again
		return err
	}
	a.log.Info("attached", "interface", l.config.Name, "mode", mode, "cluster_mac", l.config.MAC)
	return nil
}

func (a *Agent) ensureAddresses(l *attached) error {
	for _, addr := range l.config.Addresses {
		has, err := netdev.HasAddress(l.link.Index, addr)
		if err != nil {
			return err
		}
		known, err := a.note(AddedAddress{l.config.Name, l.link.Index, addr})
		if err != nil {
			return err
		}
		if has {
			continue
		}
		if _, err := netdev.AddAddress(l.link.Index, addr); err != nil {
			return err
		}
		if known {
			a.log.Warn("put a cluster address back that was gone", "interface", l.config.Name, "address", addr)
		} else {
			a.log.Info("added a cluster address", "interface", l.config.Name, "address", addr)
		}
	}
	return nil
}

// note writes an address down; known says that it was on that interface, or on
// one of that name, before.
func (a *Agent) note(entry AddedAddress) (known bool, err error) {
	if slices.Contains(a.state.Addresses, entry) {
		return true, nil
	}
	known = slices.ContainsFunc(a.state.Addresses, func(e AddedAddress) bool {
		return e.Interface == entry.Interface && e.Address == entry.Address
	})
	a.state.Addresses = append(a.state.Addresses, entry)
	return known, a.state.save(a.paths)
}

// dropStale takes away what an earlier description had on this host and the
// present one has not.
func (a *Agent) dropStale() error {
	if err := a.dropAddresses(); err != nil {
		return err
	}
	names := make([]string, 0, len(a.cluster.Interfaces))
	for _, i := range a.cluster.Interfaces {
		names = append(names, i.Name)
	}
	if err := a.plane.DetachOthers(names); err != nil {
		return err
	}
	if err := a.dropSysctls(); err != nil {
		return err
	}
	if a.state.Tracking && a.cluster.Hash.Key != cluster.KeyOriginal {
		if err := netdev.UntrackConnections(a.cluster.Name); err != nil {
			return err
		}
		a.state.Tracking = false
	}
	return a.state.save(a.paths)
}

func (a *Agent) dropAddresses() error {
	var kept []AddedAddress
	for _, e := range a.state.Addresses {
		wanted := slices.ContainsFunc(a.cluster.Interfaces, func(i cluster.Interface) bool {
			info, err := netdev.Link(i.Name)
			return err == nil && info.Index == e.Index && slices.Contains(i.Addresses, e.Address)
		})
		if wanted {
			kept = append(kept, e)
			continue
		}
		if err := removeAddress(e); err != nil {
			return err
		}
	}
	a.state.Addresses = kept
	return nil
}

func removeAddress(e AddedAddress) error {
	err := netdev.RemoveAddress(e.Index, e.Address)
	if errors.Is(err, netdev.ErrNoLink) {
		return nil // gone, and the address with it
	}
	return err
}
