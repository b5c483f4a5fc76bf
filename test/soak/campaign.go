package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/shoal-net/shoal/internal/lab"
	"github.com/shoal-net/shoal/test/failover"
)

var timings = map[string]failover.Timing{"default": failover.DefaultTiming, "fast": failover.FastTiming}

// Which clients are watched, and how closely.
const (
	watchedClients = 8 // of each family
	probeInterval  = 2 * time.Millisecond
)

// maxFailures is how many times in a row a cluster may be of no more use after
// a fault before a campaign gives up.
const maxFailures = 3

// run strikes a cluster with what the record does not have yet.
func (c campaign) run(ctx context.Context, r *record, binary, log string) (err error) {
	var rig *failover.Rig
	defer func() {
		if rig != nil {
			err = errors.Join(err, rig.Close())
		}
	}()
	agents, err := openLog(log)
	if err != nil {
		return err
	}
	failures := 0
	for _, kind := range c.kinds {
		for turn := r.count(c, kind.Name); turn < c.count; turn++ {
			if rig == nil {
				if rig, err = c.build(ctx, binary, agents); err != nil {
					return err
				}
			}
			outcome, err := rig.Run(ctx, kind, turn)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, lab.ErrNoHeartbeat):
				fmt.Fprintf(os.Stderr, "%s, %d nodes: %s: %v\n", c.mode, c.nodes, kind.Name, err)
				turn = c.count
				continue
			case err != nil:
				fmt.Fprintf(os.Stderr, "%s, %d nodes: %s %d: %v\n", c.mode, c.nodes, kind.Name, turn, err)
				if failures++; failures == maxFailures {
					return fmt.Errorf("gave up after %d failures in a row: %w", failures, err)
				}
				err, rig = rig.Close(), nil
			default:
				failures = 0
			}
			if err != nil {
				return err
			}
			if outcome.Took > 0 {
				if err := r.add(c, turn, outcome); err != nil {
					return err
				}
			}
		}
		fmt.Fprintln(os.Stderr, r.line(c, kind.Name))
	}
	return nil
}

func (c campaign) build(ctx context.Context, binary string, log io.Writer) (*failover.Rig, error) {
	return failover.NewShoal(ctx, lab.Options{
		Name: fmt.Sprintf("soak-%d", os.Getpid()), Mode: c.mode, Nodes: c.nodes, Clients: watchedClients,
		Binary: binary, Log: log, NoServices: true,
	}, timings[c.timing], lab.MonitorOptions{Clients: watchedClients, Interval: probeInterval})
}

func openLog(path string) (io.Writer, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return f, nil
}
