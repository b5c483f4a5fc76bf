package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/flows"
	"github.com/shoal-net/shoal/internal/heartbeat"
	"github.com/shoal-net/shoal/internal/member"
	"github.com/shoal-net/shoal/internal/netdev"
)

// keeping is what looks after flows while it runs.
type keeping struct {
	*keeper
	processes []chan *heartbeat.Process // of those that need to know the one that runs
	stop      func()                    // all has ended when stop returns
}

// hear says which process is the one to listen to.
func (k *keeping) hear(p *heartbeat.Process) {
	for _, c := range k.processes {
		select {
		case <-c:
		default:
		}
		c <- p
	}
}

// startKeeping begins to look after flows, where the cluster keeps them.
func (a *Agent) startKeeping() error {
	if !a.cluster.KeepsFlows() {
		return nil
	}
	f, err := flows.Open(a.cluster)
	if err != nil {
		return err
	}
	k := newKeeper(f, a.plane, a.cluster.Handover.Drain, a.log)
	k.report = func(epoch uint64, empty []int) error {
		if p := a.asked.Load(); p != nil { // else it is about to take over, and is told at the next count
			return p.Drained(epoch, empty)
		}
		return nil
	}
	interfaces := a.cluster.Interfaces // the same after a reload, of which this goroutine knows nothing
	k.unresolved = func() error { return forgetUnresolved(interfaces) }
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	a.keeping = &keeping{keeper: k, stop: func() { cancel(); running.Wait() }}
	running.Go(func() {
		defer f.Close()
		k.run(ctx)
	})
	if !a.cluster.KeepsUDP() {
		return nil
	}
	if err := a.startPassing(ctx, &running); err != nil {
		a.stopKeeping()
		return err
	}
	if a.heart != nil { // it goes on
		a.keeping.hear(a.heart)
	}
	return nil
}

// startPassing begins to tell other nodes of UDP flows, and to ask them.
func (a *Agent) startPassing(ctx context.Context, running *sync.WaitGroup) error {
	f, err := flows.Open(a.cluster) // one is for one goroutine
	if err != nil {
		return err
	}
	say := func(b member.Body) error { return a.asked.Load().Pass(b) }
	tells := &lister{noter: newNoter(a.log), table: a.plane, say: say, now: dataplane.Now, wait: time.Sleep,
		flows: func(each func(dataplane.UDPFlow, int)) error { return udpFlows(a.plane, f, each) }}
	asks := &learner{noter: newNoter(a.log), plane: a.plane, say: say, now: dataplane.Now,
		report: func(from member.NodeID, view member.ViewID) error { return a.asked.Load().Frozen(from, view) },
		name:   nodeNames(a.cluster), old: make([]member.Set, a.cluster.Hash.Buckets)}
	toTell, toAsk := make(chan *heartbeat.Process, 1), make(chan *heartbeat.Process, 1)
	a.keeping.processes = []chan *heartbeat.Process{toTell, toAsk}
	running.Go(func() {
		defer f.Close()
		tells.run(ctx, toTell)
	})
	running.Go(func() { asks.run(ctx, toAsk) })
	return nil
}

// udpFlows calls each for the UDP flows of this host: of a gateway connection
// tracking knows them, else the data plane.
func udpFlows(plane *dataplane.Plane, f *flows.Flows, each func(dataplane.UDPFlow, int)) error {
	err := plane.UDPFlows(func(u dataplane.UDPFlow, bucket int, _ time.Duration) { each(u, bucket) })
	return errors.Join(err, f.UDP(func(client, server netip.AddrPort, bucket int) {
		each(dataplane.UDPFlow{Client: client, Server: server}, bucket)
	}))
}

// nodeNames returns what names the nodes of a cluster, whatever it becomes.
func nodeNames(c *cluster.Cluster) func(member.NodeID) string {
	return func(id member.NodeID) string {
		if n, ok := c.Node(int(id)); ok && n.Name != "" {
			return n.Name
		}
		return fmt.Sprintf("node %d", id)
	}
}

// forgetUnresolved forgets the neighbours that the host has asked for in vain
// while it had no lease.
func forgetUnresolved(interfaces []cluster.Interface) (err error) {
	for _, i := range interfaces {
		err = errors.Join(err, netdev.ForgetUnresolved(i.Name))
	}
	return err
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
