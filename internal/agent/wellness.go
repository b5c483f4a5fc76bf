package agent

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/health"
)

// wellness is what the checks of the node's own service say.
type wellness struct {
	states <-chan health.State
	stop   context.CancelFunc
	known  bool                   // what limit should be
	limit  uint16                 // the largest weight that the checks allow
	why    atomic.Pointer[string] // that is not cluster.MaxWeight; nil: it is. For questions, too
}

// watchHealth goes over to the checks of the present description. Until they
// have said something a node that has just started serves nobody, and one that
// goes on stays as it is.
func (a *Agent) watchHealth(goesOn bool) {
	if a.health.stop != nil {
		a.health.stop()
	}
	ctx, stop := context.WithCancel(context.Background())
	a.health.states, a.health.stop = health.Watch(ctx, a.cluster.Health.Checks), stop
	if !goesOn && len(a.cluster.Health.Checks) > 0 {
		a.health.known, a.health.limit = true, 0
	}
}

// stopHealth ends the checks.
func (a *Agent) stopHealth() { a.health.stop() }

// reloadHealth goes over to other checks, if they are others.
func (a *Agent) reloadHealth(before []cluster.Check) {
	if !slices.EqualFunc(before, a.cluster.Health.Checks, cluster.Check.Equal) {
		a.watchHealth(true)
	}
}

// takeHealth takes what the checks say now.
func (a *Agent) takeHealth(s health.State) {
	limit := uint16(s.Weight)
	if !s.Healthy {
		limit = 0
	}
	switch changed := !a.health.known || limit != a.health.limit; {
	case limit == 0:
		a.log.Warn("this node's service fails: other nodes take its buckets over", "why", s.Reason)
	case limit < cluster.MaxWeight:
		a.log.Warn("this node's service is impaired", "weight at most", limit, "why", s.Reason)
	case changed && len(a.cluster.Health.Checks) > 0:
		a.log.Info("this node's service passes its checks")
	}
	a.health.known, a.health.limit = true, limit
	a.health.why.Store(nil)
	if limit < cluster.MaxWeight {
		a.health.why.Store(&s.Reason)
	}
	a.tellHealth()
}

// tellHealth tells the heartbeat process, which may be another one than before.
func (a *Agent) tellHealth() {
	if !a.health.known {
		return
	}
	if err := a.heart.Health(a.health.limit); err != nil {
		a.log.Warn("could not tell the heartbeat process of the node's health", "error", err)
	}
}
