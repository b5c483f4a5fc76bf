package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/heartbeat"
	"github.com/shoal-net/shoal/internal/netdev"
)

// In a cluster whose nodes know each other the heartbeat process decides about
// table and lease. The agent keeps it running, and the host in order.

const (
	// restartPause keeps a heartbeat process that cannot live from taking all
	// of a processor.
	restartPause = time.Second
	// lifeInterval is between two signs of life to the heartbeat process, which
	// waits for a second at least.
	lifeInterval = 100 * time.Millisecond
	// lookInterval is between two looks for hosts outside while there is none.
	lookInterval = 100 * time.Millisecond
	// stuckAfter is how long one thing that the agent does may take: programs
	// are loaded in less, also on a host that is overloaded.
	stuckAfter = 10 * time.Second
	// leaveTime is how long the others are given to take the buckets over.
	leaveTime = 3 * time.Second
)

// runMembers runs the node until ctx ends, and then lets the others take over.
func (a *Agent) runMembers(ctx context.Context, o *Options) error {
	events, err := netdev.Watch(ctx)
	if err != nil {
		return err
	}
	if err := a.up(); err != nil {
		return err
	}
	if err := a.startKeeping(); err != nil {
		return err
	}
	defer a.stopKeeping()
	a.watchHealth(o.replaced != nil)
	defer a.stopHealth()
	if err := a.startHeartbeat(o.replaced); err != nil {
		return err
	}
	o.replaced = nil // from here on this agent is the one
	server, err := a.serve(ctx)
	if err != nil {
		return errors.Join(err, a.leaveCluster())
	}
	a.tend(time.Now())
	err = a.memberLoop(ctx, events, o)
	if errors.Is(err, errReplaced) {
		return errors.Join(err, server.Close()) // the socket is the other agent's
	}
	return errors.Join(err, server.Remove())
}

// startHeartbeat starts the process that decides, and writes down which it is.
func (a *Agent) startHeartbeat(t *takeover) error {
	setup := heartbeat.NewSetup(a.cluster, a.paths.Pins(), a.paths.memory())
	p, err := t.start(setup)
	if err != nil {
		return err
	}
	a.heart = p
	a.asked.Store(p)
	if a.keeping != nil {
		a.keeping.hear(p)
	}
	a.tellHealth()
	go a.showLife(p)
	if self, err := readProcess(p.PID()); err == nil {
		a.state.Heartbeat = ProcessID{PID: p.PID(), StartTime: self.start}
	}
	if err := a.state.save(a.paths); err != nil {
		p.Kill() // or the next try would start another one beside it
		return err
	}
	return nil
}

// showLife shows a heartbeat process that the agent lives: that its process
// runs, and that its loop gets on.
func (a *Agent) showLife(p *heartbeat.Process) {
	beat := time.NewTicker(lifeInterval)
	defer beat.Stop()
	for {
		select {
		case <-p.Ended():
			return
		case <-beat.C:
			if dataplane.Now()-time.Duration(a.progress.Load()) < stuckAfter {
				p.Alive()
			}
		}
	}
}

// memberLoop keeps everything as it is to be.
func (a *Agent) memberLoop(ctx context.Context, events <-chan netdev.Event, o *Options) error {
	check := time.NewTicker(checkInterval)
	defer check.Stop()
	told := a.heart.Events
	var restart <-chan time.Time
	for {
		a.progress.Store(int64(dataplane.Now()))
		select {
		case <-ctx.Done():
			a.log.Info("leaving: the other nodes take over")
			return a.leaveCluster()
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
			a.aim()
		case <-a.look:
			a.aim()
		case s := <-a.health.states:
			a.takeHealth(s)
		case e, ok := <-told:
			if ok {
				a.hearProcess(e, o)
				continue
			}
			a.log.Error("the heartbeat process has ended: this node handles nothing until another one runs")
			a.heart.Close()
			told, restart = nil, time.After(restartPause)
		case <-restart:
			if err := a.startHeartbeat(nil); err != nil {
				a.log.Error("could not start the heartbeat process", "error", err)
				restart = time.After(restartPause)
				continue
			}
			told, restart = a.heart.Events, nil
		case request := <-a.requests:
			if err := a.answer(ctx, request, o); errors.Is(err, errLost) {
				return errors.Join(err, a.leaveCluster())
			} else if err != nil {
				return err
			}
		case <-o.Hangup:
			if err := a.reload(o); err != nil {
				a.log.Error("the file was not taken over", "error", err)
			}
		}
	}
}

// hearProcess takes what the heartbeat process tells.
func (a *Agent) hearProcess(e heartbeat.Event, o *Options) {
	switch e.Kind {
	case heartbeat.Ready:
		a.aim()
		a.log.Info("takes part", "cluster", a.cluster.Name, "node", a.cluster.Self, "nodes", len(a.cluster.Nodes))
		if o.Ready != nil {
			o.Ready()
			o.Ready = nil
		}
	case heartbeat.Serving:
		a.log.Info("serving", "cluster", a.cluster.Name, "node", a.cluster.Self)
		if err := forgetUnresolved(a.cluster.Interfaces); err != nil { // whom it sent to while it was fenced
			a.log.Warn("could not forget the neighbours that do not answer", "error", err)
		}
	case heartbeat.Sweep:
		a.sweep(e.Sweep)
	case heartbeat.Log:
		a.log.Info(e.Text)
	case heartbeat.Warning:
		a.log.Warn(e.Text)
	case heartbeat.Failed:
		a.log.Error("the heartbeat process ends", "error", e.Text)
	}
}

// aim tells the process whom to ask whether this node is cut off. Hosts come
// and go, and interfaces are made anew, so this is looked up again and again.
func (a *Agent) aim() {
	if !a.cluster.Membership.Partition.GoesAlone(len(a.cluster.Nodes)) {
		return
	}
	targets, err := a.outside()
	if err != nil { // what was named last stands
		a.log.Warn("could not find hosts outside the cluster", "error", err)
		return
	}
	// Until there is one this node cannot go on alone, and on a host that has just
	// started that is soon.
	if a.look = nil; len(targets) == 0 {
		a.look = time.After(lookInterval)
	}
	if err := a.heart.Aim(targets); err != nil {
		a.log.Warn("could not name hosts outside the cluster", "error", err)
	}
}

// outside is the witness, where there is one, or else whom this node finds.
func (a *Agent) outside() (targets []heartbeat.Target, err error) {
	if w := a.cluster.Membership.Witness; w.IsValid() {
		return []heartbeat.Target{{Address: w}}, nil
	}
	var names []string
	var excluded []netip.Addr
	for _, ifc := range a.cluster.Interfaces {
		names = append(names, ifc.Name)
		excluded = append(excluded, ifc.Addresses...)
	}
	for _, n := range a.cluster.Nodes {
		excluded = append(excluded, n.Addresses...)
	}
	hosts, err := netdev.Outside(names, excluded)
	for _, h := range hosts {
		targets = append(targets, heartbeat.Target{Interface: h.Interface, Address: h.Address, Link: h.Link})
	}
	return targets, err
}

// leaveCluster waits until the others have taken over, or for as long as that
// may take.
func (a *Agent) leaveCluster() error {
	timeout := time.After(leaveTime)
	err := a.heart.Leave()
	for err == nil {
		select {
		case e, ok := <-a.heart.Events:
			if !ok {
				a.heart.Close()
				return nil
			}
			a.hearProcess(e, &Options{})
		case <-timeout:
			err = errors.New("it did not end")
		}
	}
	a.heart.Kill()
	a.log.Warn("the heartbeat process was killed: the other nodes take over when its lease has run out", "error", err)
	return nil
}

// reload takes over what may change while the node runs, and refuses the rest.
func (a *Agent) reload(o *Options) error {
	if o.Load == nil {
		return errors.New("this cluster is not described by a file: start it anew")
	}
	next, err := o.Load()
	if err != nil {
		return err
	}
	if err := a.cluster.CheckReload(next); err != nil {
		return err
	}
	if err := a.plane.SetPeers(next.Nodes); err != nil {
		return err
	}
	if err := a.heart.Reload(heartbeat.NewSetup(next, a.paths.Pins(), a.paths.memory())); err != nil {
		return fmt.Errorf("give the heartbeat process the new file: %w", err)
	}
	before := a.cluster.Health.Checks
	a.setCluster(next)
	a.reloadHealth(before)
	a.log.Info("took the file over again", "nodes", len(next.Nodes))
	return a.state.save(a.paths)
}

func (a *Agent) setCluster(c *cluster.Cluster) { a.cluster, a.state.Cluster = c, c }
