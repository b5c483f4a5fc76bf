// Package agent runs one node of a cluster: it makes the host and the data
// plane what the description of the cluster says, keeps them so, renews the
// lease, and takes everything away again. It is where the adapters meet.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/heartbeat"
	"github.com/shoal-net/shoal/internal/netdev"
	"github.com/shoal-net/shoal/internal/share"
)

// checkInterval is how often the host is looked at where no event told of a
// change: for what events do not tell, and to try again what failed.
const checkInterval = time.Second

// Options are what Run needs.
type Options struct {
	Cluster *cluster.Cluster
	Paths   Paths
	Log     *slog.Logger
	Ready   func() // called once: when the node serves, or takes part where nodes know each other
	// Where nodes know each other:
	Load    func() (*cluster.Cluster, error) // reads the file again; nil: there is none
	Hangup  <-chan os.Signal                 // asks for that
	Replace bool                             // take the place of an agent that runs
	// Replaced is called when another agent, a process, has taken this one's
	// place; Run returns next, and has taken nothing down.
	Replaced func(pid int)

	replaced *takeover
}

// Agent is a running node.
type Agent struct {
	cluster *cluster.Cluster
	paths   Paths
	log     *slog.Logger
	owners  []uint8 // by bucket
	plane   *dataplane.Plane
	state   *State
	links   []*attached

	heart    *heartbeat.Process // the loop's
	keeping  *keeping           // nil: flows are not kept, or the agent gives way
	health   wellness
	look     <-chan time.Time                  // when to look again for hosts outside, none having been found
	asked    atomic.Pointer[heartbeat.Process] // the same, for questions
	progress atomic.Int64                      // when the loop last began anew, by the clock of dataplane.Now
	requests chan request
}

// Run runs a node until ctx ends, then takes it down. Whatever it could not
// set up is an error, after what it had done is undone.
func Run(ctx context.Context, o Options) error {
	owners, err := share.Static(o.Cluster.Nodes, o.Cluster.Hash.Buckets)
	if err != nil {
		return err
	}
	a := &Agent{cluster: o.Cluster, paths: o.Paths, log: o.Log, owners: owners, requests: make(chan request)}
	if err := a.open(&o); err != nil {
		o.replaced.giveUp()
		return err
	}
	if !o.Cluster.HasMembership() {
		err = a.run(ctx, o.Ready)
		return errors.Join(err, a.down())
	}
	err = a.runMembers(ctx, &o)
	switch {
	case errors.Is(err, errReplaced):
		return nil
	case errors.Is(err, errLost):
		return err
	case o.replaced != nil: // the other agent goes on: nothing is this one's to take down
		err = errors.Join(err, a.plane.Close())
		o.replaced.giveUp()
		return err
	}
	return errors.Join(err, a.down())
}

// open makes or adopts the data plane, and takes over what the last agent
// wrote down.
func (a *Agent) open(o *Options) (err error) {
	if o.Replace {
		if !a.cluster.HasMembership() {
			return errors.New("--replace is for clusters whose nodes know each other: stop the agent that runs, and start this one")
		}
		if o.replaced, err = beginTakeover(a.paths, a.cluster); err != nil {
			return err
		}
	}
	if err := a.takeOver(o.replaced != nil); err != nil {
		return err
	}
	if err := prepareRoot(a.paths); err != nil {
		return err
	}
	openPlane := dataplane.Open
	if o.replaced != nil {
		openPlane = dataplane.OpenInPlace
	}
	plane, err := openPlane(a.paths.Pins(), a.cluster)
	if err != nil {
		removeRoot(a.paths)
		return err
	}
	a.plane = plane
	if plane.Adopted() {
		a.log.Info("adopted the pinned data plane", "pins", a.paths.Pins())
	}
	return nil
}

// takeOver begins with what the last agent wrote down.
func (a *Agent) takeOver(inPlace bool) error {
	state, err := loadState(a.paths)
	if err != nil {
		return err
	}
	vanished := state == nil
	if state != nil {
		if vanished, err = state.checkNamespace(a.paths); err != nil {
			return err
		}
	}
	if vanished {
		state = &State{}
		if state.Namespace, err = netdev.Namespace(); err != nil {
			return err
		}
	}
	if !inPlace {
		if err := state.Heartbeat.kill(); err != nil {
			return err
		}
	}
	state.PID = os.Getpid()
	self, err := readProcess(state.PID)
	if err != nil {
		return fmt.Errorf("read own start time: %w", err)
	}
	state.StartTime = self.start
	state.Cluster = a.cluster
	state.Sysctls.Save = func() error { return state.save(a.paths) }
	a.state = state
	return nil
}

func (a *Agent) run(ctx context.Context, ready func()) error {
	events, err := netdev.Watch(ctx)
	if err != nil {
		return err
	}
	if err := a.up(); err != nil {
		return err
	}
	a.plane.SetTable(a.plane.Epoch()+1, a.states())
	a.extend()
	ctx, cancel := context.WithCancel(ctx)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		a.renew(ctx)
	}()
	defer func() { <-renewed }()
	defer cancel()
	if a.cluster.Mode == cluster.Gateway && a.cluster.Hash.Affinity == cluster.ByFlow {
		a.log.Warn("affinity flow: a node that translates addresses or ports would split connections between nodes")
	}
	// Snooping switches must know of this node before anybody counts on it.
	a.tend(time.Now())
	a.log.Info("serving", "cluster", a.cluster.Name, "node", a.cluster.Self, "buckets", a.owned(), "of", len(a.owners))
	if ready != nil {
		ready()
	}
	return a.loop(ctx, events)
}

// up sets up what the description has, after taking away what an older one
// had and it has no more.
func (a *Agent) up() error {
	if err := a.dropStale(); err != nil {
		return err
	}
	if a.cluster.Hash.Key == cluster.KeyOriginal {
		a.state.Tracking = true
		if err := a.state.save(a.paths); err != nil {
			return err
		}
		if err := netdev.TrackConnections(a.cluster.Name); err != nil {
			return err
		}
		a.log.Info("connection tracking is on", "table", "shoal-"+a.cluster.Name, "why", "key: original looks connections up")
	}
	if err := a.checkTracking(); err != nil {
		return err
	}
	if err := a.setSysctls(); err != nil {
		return err
	}
	for bit, ifc := range a.cluster.Interfaces {
		l := &attached{config: ifc, bit: bit}
		a.links = append(a.links, l)
		if err := a.ensure(l); err != nil {
			return err
		}
	}
	return nil
}

// states is the table as this node sees it.
func (a *Agent) states() []dataplane.State {
	states := make([]dataplane.State, len(a.owners))
	for b, owner := range a.owners {
		if int(owner) == a.cluster.Self {
			states[b] = dataplane.Owned
		}
	}
	return states
}

func (a *Agent) owned() int {
	n := 0
	for _, owner := range a.owners {
		if int(owner) == a.cluster.Self {
			n++
		}
	}
	return n
}

// renew keeps the lease running. It has a goroutine of its own so that nothing
// that takes long, such as loading a program, lets the lease run out.
func (a *Agent) renew(ctx context.Context) {
	ticker := time.NewTicker(a.cluster.Lease / 4)
	defer ticker.Stop()
	for {
		a.extend()
		select {
		case <-ctx.Done():
			a.plane.SetLease(a.plane.Epoch(), 0)
			return
		case <-ticker.C:
		}
	}
}

// extend lets this node act for the length of a lease from now.
func (a *Agent) extend() {
	a.plane.SetLease(a.plane.Epoch(), dataplane.Now()+a.cluster.Lease)
}

// loop keeps everything as it is to be.
func (a *Agent) loop(ctx context.Context, events <-chan netdev.Event) error {
	check := time.NewTicker(checkInterval)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			a.log.Info("leaving")
			return nil
		case event, ok := <-events:
			if !ok && ctx.Err() == nil {
				var err error
				if events, err = netdev.Watch(ctx); err != nil {
					return err
				}
			}
			if ok && !a.concerns(event) {
				continue
			}
			a.ensureAll()
		case now := <-check.C:
			a.ensureAll()
			a.tend(now)
		}
	}
}

// concerns reports whether an event may be about the cluster's interfaces.
func (a *Agent) concerns(event netdev.Event) bool {
	for _, l := range a.links {
		if event.Name == l.config.Name || event.Index == l.link.Index {
			return true
		}
	}
	return event.Kind == netdev.Resync
}
