package handover

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// DrainTimes are the times of a whole drain. All but the last are from the
// command on.
type DrainTimes struct {
	Connections int           // that the node had, of all
	Handed      time.Duration // until the node takes no new connections, and others do
	Returned    time.Duration // until the command returned, which does not wait
	Ended       time.Duration // until the node's last connection was ended by its client
	Emptied     time.Duration // from then until the cluster knew
}

// MeasureDrain drains a node while connections are kept open, and lets clients
// end those that it has when it takes no new ones any more. handed tells when
// that is, as the data planes have it.
func MeasureDrain(ctx context.Context, c Cluster, load Load, node int, handed func() (bool, error)) (t DrainTimes, err error) {
	clients := newClients(c.Lab(), load)
	keeping, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	clients.keep(keeping, &running)
	name := c.Lab().Nodes[node-1].Name
	t.Connections = clients.with(name)

	began := time.Now()
	returned := make(chan error, 1)
	go func() {
		err := c.Change(ctx, Change{Kind: Drain, Node: node, On: node})
		t.Returned = time.Since(began)
		returned <- err
	}()
	for over, asked := false, returned; !over && err == nil; {
		select {
		case err = <-asked: // a drain that failed is never over
			returned <- err
			asked = nil
		default:
			over, err = handed()
		}
	}
	t.Handed = time.Since(began)
	if err = errors.Join(err, <-returned); err != nil {
		return t, err
	}
	clients.leave(name, true)
	for clients.with(name) > 0 {
		if !wait(ctx, time.Millisecond) {
			return t, ctx.Err()
		}
	}
	t.Ended = time.Since(began)
	err = c.Emptied(ctx, node)
	t.Emptied = time.Since(began) - t.Ended
	clients.leave(name, false)
	clients.note(func() {
		if len(clients.Broken)+len(clients.Failed) > 0 {
			err = errors.Join(err, fmt.Errorf("%d connections broke and %d could not be opened", len(clients.Broken), len(clients.Failed)))
		}
	})
	return t, err
}
