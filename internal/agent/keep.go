package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/flows"
	"github.com/shoal-net/shoal/internal/heartbeat"
)

// keeping is a keeper that runs.
type keeping struct {
	*keeper
	stop func() // it has ended when stop returns
}

// startKeeping begins to look after flows, where the cluster keeps them.
func (a *Agent) startKeeping() error {
	if !heartbeat.KeepsFlows(a.cluster) {
		return nil
	}
	f, err := flows.Open(a.cluster)
	if err != nil {
		return err
	}
	k := newKeeper(f, a.plane, a.cluster.Handover.Drain, a.log)
	k.report = func(epoch uint64, empty []int) error { return a.asked.Load().Drained(epoch, empty) }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer f.Close()
		k.run(ctx)
	}()
	a.keeping = &keeping{k, func() { cancel(); <-ended }}
	return nil
}

// stopKeeping comes before the data plane is closed.
func (a *Agent) stopKeeping() {
	if a.keeping != nil {
		a.keeping.stop()
		a.keeping = nil
	}
}

// sweep has all flows destroyed, and answers the process that asks for it.
func (a *Agent) sweep(number uint64) {
	if p := a.heart; a.keeping != nil {
		a.keeping.sweep(func() error { return p.Swept(number) })
	}
}

// checkTracking refuses what would break connections without a word: to drain a
// gateway by a table of connections that is empty, since nobody fills it.
func (a *Agent) checkTracking() error {
	if a.cluster.Mode != cluster.Gateway || !a.cluster.HasMembership() || a.cluster.Handover.Drain == 0 {
		return nil
	}
	v4, v6, err := flows.Tracking()
	if err != nil {
		return err
	}
	warning, err := judgeTracking(a.cluster, v4, v6)
	if warning != "" {
		a.log.Warn(warning)
	}
	return err
}

// judgeTracking says whether a gateway's `flows` fits what the kernel tracks.
func judgeTracking(c *cluster.Cluster, v4, v6 bool) (warning string, err error) {
	var missing []string
	for _, family := range []struct {
		name    string
		has     func(netip.Addr) bool
		tracked bool
	}{{"IPv4", netip.Addr.Is4, v4}, {"IPv6", netip.Addr.Is6, v6}} {
		used := slices.ContainsFunc(c.Interfaces, func(i cluster.Interface) bool { return slices.ContainsFunc(i.Addresses, family.has) })
		if used && !family.tracked {
			missing = append(missing, family.name)
		}
	}
	switch {
	case c.Handover.Flows == cluster.FlowsNone && (v4 || v6):
		return "flows: none, but connections are tracked here: a firewall that drops what it does not know, or translated addresses, break connections whose buckets move; `flows: conntrack` keeps them where they are", nil
	case c.Handover.Flows == cluster.FlowsConntrack && len(missing) > 0:
		for _, family := range missing {
			err = errors.Join(err, fmt.Errorf("flows: conntrack, but %s connections are not tracked here, since no rule asks for it: load the firewall first (nft: a rule with `ct state`), or write `flows: none`", family))
		}
	}
	return "", err
}
