package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// nodeStatus is the part of `shoal status -o json` that tells whether a cluster
// is whole.
type nodeStatus struct {
	Lease   struct{ Valid bool }
	Buckets struct{ Total, Owned int }
}

// settlePause is between two looks at the nodes.
const settlePause = 20 * time.Millisecond

// Settle waits until the nodes that run serve under a lease and own all buckets
// between them: nodes that know each other first have to find each other.
func (l *Lab) Settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		whole, err := l.whole(ctx)
		if whole {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the cluster of lab %s is not whole: %w (%v)", l.plan.Name, context.Cause(ctx), err)
		case <-time.After(settlePause):
		}
	}
}

func (l *Lab) whole(ctx context.Context) (bool, error) {
	owned, total := 0, 0
	for _, n := range l.Nodes {
		if !n.Running() {
			continue
		}
		s, err := n.status(ctx)
		if err != nil || !s.Lease.Valid {
			return false, err
		}
		owned, total = owned+s.Buckets.Owned, s.Buckets.Total
	}
	return owned == total, nil
}

func (n *Node) status(ctx context.Context) (*nodeStatus, error) {
	out, err := n.NS.Run(ctx, n.plan.Binary, "status", clusterName, "--instance", n.Instance, "-o", "json", "--interval", "10ms")
	if err != nil {
		return nil, err
	}
	var all []nodeStatus
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 {
		return nil, fmt.Errorf("understand the status of %s: %v", n.Name, err)
	}
	return &all[0], nil
}
