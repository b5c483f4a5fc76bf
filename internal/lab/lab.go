package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Lab is a running lab.
type Lab struct {
	Nodes   []*Node    // by id; node 1 comes first
	Switch  *Namespace // all bridges
	Clients *Namespace // all client addresses
	Server  *Namespace // nil in a backend lab
	Router  *Namespace // nil without Options.RouterMTU

	plan     plan
	dir      *runDir
	network  network
	services services
	seen     *tracker

	closing  sync.Once
	closeErr error
}

// New builds a lab and waits until its agents are ready. When it fails, also
// because ctx ended, nothing is left of the lab. ctx does not matter to the
// lab that New returns: that one must be closed.
func New(ctx context.Context, o Options) (*Lab, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := checkRoot(); err != nil {
		return nil, err
	}
	if o.Log != nil {
		o.Log = &lockedWriter{w: o.Log}
	}
	l := &Lab{plan: plan{o}, seen: newTracker()}
	if l.dir, err = makeRunDir(o.Name); err != nil {
		return nil, err
	}
	if err := l.build(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func checkRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("labs are network namespaces: run this as root")
	}
	return nil
}

func (l *Lab) build(ctx context.Context) (err error) {
	if l.network, err = buildNetwork(ctx, l.plan); err != nil {
		return err
	}
	l.Switch, l.Clients = l.network[partSwitch], l.network[partClients]
	l.Server, l.Router = l.network[partServer], l.network[partRouter]
	for id := 1; id <= l.plan.Nodes; id++ {
		n, err := l.newNode(id)
		if err != nil {
			return err
		}
		l.Nodes = append(l.Nodes, n)
	}
	if !l.plan.NoServices {
		if err := l.startServices(); err != nil {
			return err
		}
	}
	if l.plan.NoAgents {
		return ctx.Err()
	}
	return l.startAgents(ctx)
}

// startAgents starts all agents at once, gives up with the first that fails, and
// waits until they serve.
func (l *Lab) startAgents(ctx context.Context) error {
	g, start := errgroup.WithContext(ctx)
	for _, n := range l.Nodes {
		g.Go(func() error { return n.Start(start) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return l.Settle(ctx)
}

// Close takes the lab down: agents in order, then services, namespaces and
// the lab's directory. It does as much as it can and returns what failed.
func (l *Lab) Close() error {
	l.closing.Do(func() { l.closeErr = l.takeDown() })
	return l.closeErr
}

func (l *Lab) takeDown() error {
	errs := make([]error, len(l.Nodes))
	var wg sync.WaitGroup
	for i, n := range l.Nodes {
		wg.Go(func() { errs[i] = errors.Join(n.shutDown(), forget(n.Instance)) })
	}
	wg.Wait()
	l.services.close()
	errs = append(errs, removeNetwork(l.network), l.dir.remove())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take lab %s down: %w", l.plan.Name, err)
	}
	return nil
}

// ClusterAddresses are the addresses that the nodes share on the client side,
// one of each family, IPv4 first.
func (l *Lab) ClusterAddresses() []netip.Addr {
	return clientSegment.hosts(l.plan.Families, hostVIP)
}

// ServerSideAddresses are those that gateway nodes share on the server side.
func (l *Lab) ServerSideAddresses() []netip.Addr {
	return serverSegment.hosts(l.plan.Families, hostVIP)
}

// Targets are the addresses that clients ask: the cluster's in backend mode,
// the server's behind a gateway; one of each family, IPv4 first.
func (l *Lab) Targets() []netip.Addr { return l.plan.targets() }

// ClientAddresses are all client addresses: IPv4, then IPv6.
func (l *Lab) ClientAddresses() []netip.Addr { return l.plan.clients() }
