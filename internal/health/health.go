// Package health checks whether a node's own service can serve. Each check runs
// by itself, again and again; a track turns its results into a state that does
// not change at every blink; the states of all checks together say whether the
// node should have buckets, and how many.
package health

import (
	"context"
	"sync"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
)

// State is what the checks say of the node.
type State struct {
	Healthy bool   // false: the node should leave its buckets to others
	Weight  int    // the most that the node's weight should be, 1..cluster.MaxWeight
	Reason  string // which checks fail and why, in one line; empty: none does
}

// Watch runs the checks, all at the same time, until ctx ends. It sends a state
// when each of them has passed once, or failed as often as it takes, and then
// whenever the state changes; a receiver that is late gets the newest only.
// Until the first state nothing is known: a node that starts should not serve
// yet, and one that goes over to other checks should stay as it is. Without
// checks the node is healthy.
//
// The channel is closed when ctx has ended and nothing of the checks is left
// running.
func Watch(ctx context.Context, checks []cluster.Check) <-chan State {
	return watch(ctx, checks, newProbe)
}

// probe asks the service once. It ends with ctx; nil: the check passes.
type probe func(ctx context.Context) error

func newProbe(c cluster.Check) probe {
	switch c.Kind {
	case cluster.CheckHTTP:
		return httpProbe(c)
	case cluster.CheckDNS:
		return dnsProbe(c)
	case cluster.CheckExec:
		return execProbe(c)
	default:
		return tcpProbe(c)
	}
}

// result is that of one check.
type result struct {
	check int
	at    time.Time
	err   error
}

func watch(ctx context.Context, checks []cluster.Check, newProbe func(cluster.Check) probe) <-chan State {
	states, results := make(chan State), make(chan result)
	var running sync.WaitGroup
	for i, c := range checks {
		ask := newProbe(c)
		running.Go(func() { repeat(ctx, i, c, ask, results) })
	}
	go func() {
		decide(ctx, newTracks(checks), results, states)
		running.Wait()
		close(states)
	}()
	return states
}

// repeat runs a check until ctx ends. One that takes longer than its interval
// is begun again as soon as it is done.
func repeat(ctx context.Context, i int, c cluster.Check, ask probe, results chan<- result) {
	ticker := time.NewTicker(c.Interval)
	defer ticker.Stop()
	for {
		limited, cancel := context.WithTimeout(ctx, c.Timeout)
		err := ask(limited)
		cancel()
		if ctx.Err() != nil {
			return // nobody's failure
		}
		select {
		case results <- result{i, time.Now(), err}:
		case <-ctx.Done():
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// decide turns results into states until ctx ends.
func decide(ctx context.Context, tracks []*track, results <-chan result, states chan<- State) {
	state, news := judge(tracks)
	for {
		var out chan<- State // nil, to which nothing can be sent
		if news {
			out = states
		}
		select {
		case r := <-results:
			if tracks[r.check].observe(r.at, r.err) {
				state, news = judge(tracks)
			}
		case out <- state:
			news = false
		case <-ctx.Done():
			return
		}
	}
}
