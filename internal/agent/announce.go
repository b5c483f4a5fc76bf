package agent

import (
	"net/netip"
	"slices"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/netdev"
	"github.com/shoal-net/shoal/match"
)

const (
	announceTimes = 3 // once per checkInterval
	// defendInterval keeps two systems that both claim an address from
	// flooding the link: RFC 5227, section 2.4, DEFEND_INTERVAL.
	defendInterval = 10 * time.Second
)

// announced lists the addresses that it falls to this node to announce now: each
// one to the owner of the address's own bucket.
func (a *Agent) announced(ifc cluster.Interface) []netip.Addr {
	var mine []netip.Addr
	hash := match.Hash{Seed: a.cluster.Hash.Seed, IPv6FirstWord: a.cluster.Hash.IPv6FirstWord}
	for _, addr := range ifc.Addresses {
		bucket := match.Bucket(hash.Client(addr), a.cluster.Hash.Buckets)
		if a.plane.Owns(bucket) {
			mine = append(mine, addr)
		}
	}
	return mine
}

// tend does what is due: announcements, advertisements, and the look for
// others that claim a cluster address.
func (a *Agent) tend(now time.Time) {
	for _, l := range a.links {
		if l.link.Index == 0 {
			continue
		}
		a.watchConflicts(l, now)
		if addrs := a.announced(l.config); l.announcements > 0 && len(addrs) > 0 {
			l.announcements--
			if err := netdev.Announce(l.link, l.config.MAC, addrs); err != nil {
				a.log.Warn("could not announce the cluster addresses", "interface", l.config.Name, "error", err)
			}
		}
		a.advertise(l, now)
	}
}

// watchConflicts makes the cluster defend its addresses, and says so.
func (a *Agent) watchConflicts(l *attached, now time.Time) {
	conflicts, err := a.plane.Conflicts(l.config.Name)
	if err != nil {
		a.log.Warn("could not read the counters", "interface", l.config.Name, "error", err)
		return
	}
	l.disputed = l.disputed || conflicts > l.conflicts
	l.conflicts = conflicts
	if !l.disputed || now.Sub(l.defended) < defendInterval {
		return
	}
	l.disputed, l.defended = false, now
	l.announcements = announceTimes
	a.log.Error("another system claims a cluster address with a MAC of its own: find it and stop it",
		"interface", l.config.Name, "cluster_mac", l.config.MAC)
}

// advertise keeps snooping switches forwarding to this node, in igmp mode.
func (a *Agent) advertise(l *attached, now time.Time) {
	interval := netdev.RouterAdvertisementInterval
	if l.advertisements < netdev.InitialRouterAdvertisements {
		interval = netdev.InitialRouterAdvertisementInterval
	}
	if l.config.L2 != cluster.IGMP || now.Sub(l.advertised) < interval {
		return
	}
	l.advertised = now
	l.advertisements++
	a.sendAdvertisement(l, false)
}

func (a *Agent) sendAdvertisement(l *attached, terminate bool) {
	v4 := slices.ContainsFunc(l.config.Addresses, netip.Addr.Is4)
	v6 := slices.ContainsFunc(l.config.Addresses, netip.Addr.Is6)
	if err := netdev.SendRouterAdvertisement(l.link, l.config.Addresses, v4, v6, terminate); err != nil {
		a.log.Warn("could not send a multicast router advertisement: a snooping switch may stop forwarding to this node",
			"interface", l.config.Name, "error", err)
	}
}
