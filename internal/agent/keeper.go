package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/flows"
)

// countInterval is how often the flows of buckets that are given away are
// counted. A bucket is taken to be empty after flows.Quiet counts.
const countInterval = time.Second

// keeper looks after the flows that this host has of buckets that others own
// now, or are about to: it counts those that are to end by themselves, and
// destroys those that others answer for. It has a goroutine of its own, since
// all that takes long on a host with many flows.
type keeper struct {
	flows  flowTable
	table  bucketTable
	report func(epoch uint64, empty []int) error // to the heartbeat process
	limit  time.Duration                         // on how long a bucket is drained
	// unresolved forgets the neighbours that the host is asking for.
	unresolved func() error
	noter
	sweeps chan sweep

	states []dataplane.State // at the last look; nil: none yet
	since  []time.Time       // when each bucket was first seen draining; zero: it is not
	idle   flows.Idle
	counts []int
}

// flowTable is what the kernel knows of flows: *flows.Flows.
type flowTable interface {
	Count(counts []int) ([]int, error)
	Destroy(in func(bucket int) bool) (n int, err error)
}

// bucketTable is what the data plane knows: *dataplane.Plane.
type bucketTable interface {
	Table() (epoch uint64, states []dataplane.State, acts bool)
	State(bucket int) dataplane.State
	UDPFlows(each func(f dataplane.UDPFlow, bucket int, silent time.Duration)) error
	ForgetUDP(foreign func(bucket int) bool) error
}

// sweep is to destroy all flows, and then to say so.
type sweep struct{ done func() error }

func newKeeper(f flowTable, t bucketTable, limit time.Duration, log *slog.Logger) *keeper {
	return &keeper{flows: f, table: t, limit: limit, noter: newNoter(log), sweeps: make(chan sweep, 1)}
}

// sweep asks for one. The newest stands for those before. It is for one
// goroutine.
func (k *keeper) sweep(done func() error) {
	select {
	case <-k.sweeps:
	default:
	}
	k.sweeps <- sweep{done}
}

// run works until ctx ends.
func (k *keeper) run(ctx context.Context) {
	ticker := time.NewTicker(countInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-k.sweeps:
			all := func(int) bool { return true }
			if k.destroy(all) {
				// Resets of what was destroyed may wait for neighbours: once the node
				// has a lease they would be let out.
				k.note("forget the neighbours that do not answer", k.unresolved())
				k.note("answer the heartbeat process", s.done())
			}
		case now := <-ticker.C:
			k.look(now)
		}
	}
}

// look does what a table asks for that the node acts on. A table that it does
// not act on says nothing: a node that comes back at once has its buckets, and
// their flows, still.
func (k *keeper) look(now time.Time) {
	epoch, states, acts := k.table.Table()
	if !acts {
		return
	}
	if k.lost(states) {
		// Also by the table as it is when a flow is found: the bucket may be this
		// node's again by now.
		foreign := func(b int) bool {
			return states[b] == dataplane.Foreign && k.table.State(b) == dataplane.Foreign
		}
		if !k.destroy(foreign) {
			return // the next look tries again
		}
	}
	k.states = states
	if empty := k.drained(now, states); len(empty) > 0 {
		k.note("tell the heartbeat process which buckets are empty", k.report(epoch, empty))
	}
}

// lost reports whether a bucket has become foreign since the last look.
func (k *keeper) lost(states []dataplane.State) bool {
	for b, s := range states {
		if s == dataplane.Foreign && (k.states == nil || k.states[b] != dataplane.Foreign) {
			return true
		}
	}
	return false
}

// drained returns the draining buckets that have no flows left, or have been
// draining for as long as they may.
func (k *keeper) drained(now time.Time, states []dataplane.State) (empty []int) {
	if k.since == nil {
		k.since = make([]time.Time, len(states))
	}
	late := func(b int) bool { return !k.since[b].IsZero() && now.Sub(k.since[b]) >= k.limit }
	var over []int
	draining := 0
	for b, s := range states {
		switch {
		case s != dataplane.Draining:
			k.since[b] = time.Time{}
			continue
		case k.since[b].IsZero():
			k.since[b] = now
		}
		draining++
		if late(b) {
			over = append(over, b)
		}
	}
	if draining == 0 {
		return nil
	}
	if k.count() {
		empty = k.idle.Note(k.counts, func(b int) bool { return states[b] == dataplane.Draining })
	}
	if len(over) > 0 {
		// Before anybody else takes them: a bucket may come back at once, and what
		// is known here of UDP would be believed.
		k.note("forget the UDP flows that are given up", k.table.ForgetUDP(late))
	}
	return append(empty, over...)
}

// count counts the flows of each bucket.
func (k *keeper) count() bool {
	counts, err := k.flows.Count(k.counts)
	if err == nil {
		k.counts = counts
		err = k.table.UDPFlows(func(_ dataplane.UDPFlow, bucket int, _ time.Duration) { counts[bucket]++ })
	}
	return k.note("count the flows of buckets that are drained", err)
}

// destroy destroys flows in buckets whose packets are let out no more.
func (k *keeper) destroy(in func(bucket int) bool) bool {
	n, err := k.flows.Destroy(in)
	if n > 0 {
		k.log.Info("destroyed flows that other nodes answer for", "flows", n)
	}
	ok := k.note("destroy the flows that other nodes answer for", err)
	return k.note("forget the UDP flows that other nodes answer for", k.table.ForgetUDP(in)) && ok
}
