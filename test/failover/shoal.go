package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shoal-net/shoal/internal/agent"
	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/lab"
)

// Shoal is the cluster that a lab builds by itself.
type Shoal struct {
	*lab.Lab
	views *views
}

// clusterName is the name of the lab's clusters.
const clusterName = "lab"

// inspect reads a node's data plane; nil if there is none.
func (s Shoal) inspect(n *lab.Node) (*dataplane.Snapshot, error) {
	paths, err := agent.NewPaths(n.Instance, clusterName)
	if err != nil {
		return nil, err
	}
	snapshot, err := dataplane.Inspect(paths.Pins())
	if errors.Is(err, dataplane.ErrNotPinned) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("inspect %s: %w", n.Name, err)
	}
	return snapshot, nil
}

// serving reads the data planes of the nodes that are not down, and says whether
// all of them serve: with a lease, and under the view that it is for.
func (s Shoal) serving(down []int) (map[int]*dataplane.Snapshot, bool, error) {
	serving, all := map[int]*dataplane.Snapshot{}, true
	for _, n := range s.Nodes {
		if slices.Contains(down, n.ID) {
			continue
		}
		snapshot, err := s.inspect(n)
		if err != nil {
			return nil, false, err
		}
		if snapshot == nil || snapshot.Lease <= 0 || snapshot.TableEpoch < snapshot.LeaseEpoch {
			all = false
			continue
		}
		serving[n.ID] = snapshot
	}
	return serving, all, nil
}

// Whole says whether each bucket is owned under a lease by exactly one of the
// nodes that are not down, and each of these owns some.
func (s Shoal) Whole(down []int) (bool, error) {
	serving, all, err := s.serving(down)
	if err != nil || !all || len(serving) == 0 {
		return false, err
	}
	has := map[int]bool{}
	for _, owner := range owners(serving) {
		if owner == 0 {
			return false, nil
		}
		has[owner] = true
	}
	return len(has) == len(serving), nil
}

// Owners says who owns each bucket under a lease.
func (s Shoal) Owners() ([]int, error) {
	serving, _, err := s.serving(nil)
	return owners(serving), err
}

// owners says which node owns each bucket, 0 where that is none or several, or
// the bucket moves.
func owners(serving map[int]*dataplane.Snapshot) []int {
	all := make([]int, cluster.DefaultBuckets)
	const none = -1
	for id, snapshot := range serving {
		for bucket, state := range snapshot.States {
			switch {
			case state == dataplane.Foreign:
			case state == dataplane.Owned && all[bucket] == 0:
				all[bucket] = id
			default:
				all[bucket] = none
			}
		}
	}
	for bucket := range all {
		all[bucket] = max(all[bucket], 0)
	}
	return all
}

// Leader is who proposed the view that holds: the low byte of its epoch.
func (s Shoal) Leader() (int, error) {
	newest := uint64(0)
	for _, n := range s.Nodes {
		snapshot, err := s.inspect(n)
		if err != nil {
			return 0, err
		}
		if snapshot != nil {
			newest = max(newest, snapshot.LeaseEpoch)
		}
	}
	if id := int(newest & 0xff); newest > 0xff && id <= len(s.Nodes) && id > 0 {
		return id, nil
	}
	return 1, nil // nodes that know nothing of views
}

// Victim is each node in turn.
func (s Shoal) Victim(turn int) (int, error) { return turn%len(s.Nodes) + 1, nil }

// Takeovers is the number of views that nodes have acted on.
func (s Shoal) Takeovers() int { return s.views.count() }

// A Timing is how often nodes send heartbeats and how long a lease is.
type Timing struct {
	Name, Text string
	settings   string // further lines of the configuration
	lease      time.Duration
}

// The timings that there are targets for.
var (
	DefaultTiming = Timing{"default", "heartbeats every 20 ms, leases of 100 ms: the defaults", "", 100 * time.Millisecond}
	FastTiming    = Timing{"fast", "heartbeats every 5 ms, leases of 30 ms", "heartbeat: 5ms\nlease: 30ms\n", 30 * time.Millisecond}
)

// NewShoal builds a lab with a cluster of that timing, and observes it.
func NewShoal(ctx context.Context, o lab.Options, t Timing, m lab.MonitorOptions) (*Rig, error) {
	o.NodeConfig = func(_ int, file string) string { return file + t.settings }
	v := &views{to: o.Log, seen: map[string]bool{}}
	o.Log = v
	l, err := lab.New(ctx, o)
	if err != nil {
		return nil, err
	}
	r, err := NewRig(l, Shoal{l, v}, m)
	if err != nil {
		return nil, err
	}
	r.Quiet = 5 * t.lease / 2
	return r, nil
}

// NewRig observes a lab's cluster. The lab is closed with the rig, and where
// this fails.
func NewRig(l *lab.Lab, c Cluster, o lab.MonitorOptions) (*Rig, error) {
	m, err := l.NewMonitor(o)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &Rig{Lab: l, Monitor: m, Cluster: c, close: []func() error{m.Close, l.Close}, Quiet: 250 * time.Millisecond, Patience: 5 * time.Second}, nil
}

// Close ends observation, lab and what else the cluster needed.
func (r *Rig) Close() error {
	var errs []error
	for _, f := range r.close {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}
