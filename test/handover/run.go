// Package handover keeps thousands of connections open to clusters whose nodes
// are drained, weighed, stopped and started meanwhile, and counts what breaks.
// It knows shoal, and the recipe of the manual page.
package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// A Result is what clients saw while a cluster changed.
type Result struct {
	tally
	Changes    [kinds]int
	Took       time.Duration // from the first change until all connections had been used after the last
	Resets     []Reset       // that reached the clients, from the first connection on
	ResetsSent int           // by the clients
	// SynsRepeated and Repeated are segments that the clients' kernel sent
	// again while the cluster changed; Repeated are without the SYNs.
	SynsRepeated, Repeated int
	NodesRepeated          int      // by all nodes, SYN-ACKs among them
	windows, stalls        []window // of changes; of processors that stood still
}

// window is the time of a change, as clients count it.
type window struct{ from, to time.Duration }

// flushTime is how long a change may be under way on some nodes when the
// command returns, which asks one of them; and for how long queues may be full
// after processors stood still.
const flushTime = 100 * time.Millisecond

// Explain counts the connections whose SYN was sent again: those whose first one
// was sent while something changed, those of the others that were sent while a
// processor stood still, and the rest.
func (r *Result) Explain() (changing, stalled, rest int) {
	for _, s := range r.Syns {
		switch {
		case sentIn(s, r.windows):
			changing++
		case sentIn(s, r.stalls):
			stalled++
		default:
			rest++
		}
	}
	return changing, stalled, rest
}

func sentIn(s Syn, windows []window) bool {
	return slices.ContainsFunc(windows, func(w window) bool { return s.Sent >= w.from && s.Sent <= w.to+flushTime })
}

// runner carries a plan out.
type runner struct {
	Cluster
	since   func() time.Duration         // since the clients began
	leave   func(node string, over bool) // has the clients of a node end their connections, or no longer
	log     io.Writer
	mu      sync.Mutex
	windows []window
	changes [kinds]int
	away    map[int]chan error // nodes that are to return
}

// Run changes a cluster by a plan while its clients use it. It says on log what
// it does.
func Run(ctx context.Context, c Cluster, load Load, plan []Step, log io.Writer) (result *Result, err error) {
	users := newClients(c.Lab(), load)
	r := &runner{Cluster: c, since: users.since, leave: users.leave, log: log, away: map[int]chan error{}}
	resets, err := logResets(c.Lab().Clients)
	if err != nil {
		return nil, err
	}
	keeping, stopKeeping := context.WithCancel(ctx)
	var keepers, visitors sync.WaitGroup
	users.keep(keeping, &keepers)
	r.say("%d connections are open", users.Opened)
	before, err := r.kernels()
	visiting, stopVisiting := context.WithCancel(ctx)
	visitors.Go(func() { users.visit(visiting) })
	var stalls []window
	watching := make(chan error, 1)
	go func() {
		var err error
		stalls, err = watchStalls(visiting, r.since)
		watching <- err
	}()
	began := time.Now()
	if err == nil {
		err = r.follow(ctx, plan)
	}
	if err == nil && !wait(ctx, load.Period) { // in which every connection is used again
		err = ctx.Err()
	}
	took := time.Since(began)
	stopVisiting()
	visitors.Wait()
	err = errors.Join(err, <-watching)
	stopKeeping()
	keepers.Wait() // for answers, too: what has none is broken
	after, failed := r.kernels()
	err = errors.Join(err, failed)
	result = &Result{tally: users.tally, Took: took, windows: r.windows, stalls: stalls, Changes: r.changes}
	if len(before) == len(after) {
		result.addCounts(before, after)
	}
	result.Resets, failed = resets.close()
	return result, errors.Join(err, failed)
}

// kernels are the counters of the clients and, after them, of the nodes.
func (r *runner) kernels() (all []map[string]int, err error) {
	counts, err := kernelCounts(r.Lab().Clients)
	all = append(all, counts)
	for _, n := range r.Lab().Nodes {
		counts, failed := kernelCounts(n.NS)
		all, err = append(all, counts), errors.Join(err, failed)
	}
	return all, err
}

func (r *Result) addCounts(before, after []map[string]int) {
	for i := range before {
		added := since(before[i], after[i])
		if i > 0 {
			r.NodesRepeated += added[segmentsRepeated]
			continue
		}
		r.SynsRepeated, r.ResetsSent = added[synsRepeated], added[resetsSent]
		r.Repeated = added[segmentsRepeated] - r.SynsRepeated
	}
}

// follow takes the steps of a plan.
func (r *runner) follow(ctx context.Context, plan []Step) (err error) {
	for _, s := range plan {
		if !wait(ctx, s.Pause) {
			return ctx.Err()
		}
		for _, id := range s.Back {
			err = errors.Join(err, r.returned(ctx, id))
		}
		if err != nil {
			break
		}
		r.say("%s", s)
		if err = r.take(ctx, s.Changes); err != nil {
			break
		}
	}
	for id := range r.away {
		err = errors.Join(err, r.returned(ctx, id))
	}
	return err
}

// returned waits until a node is back.
func (r *runner) returned(ctx context.Context, id int) error {
	defer delete(r.away, id)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-r.away[id]:
		r.say("%d is back", id)
		return err
	}
}

// take makes changes at the same time, and waits for them; for returns it does
// not.
func (r *runner) take(ctx context.Context, changes []Change) error {
	errs := make([]error, len(changes))
	var all sync.WaitGroup
	for i, c := range changes {
		r.changes[c.Kind]++
		if c.Kind == Return {
			back := make(chan error, 1)
			r.away[c.Node] = back
			go func() { back <- r.bring(ctx, c) }()
			continue
		}
		all.Go(func() { errs[i] = r.change(ctx, c) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// change makes one change and notes its time.
func (r *runner) change(ctx context.Context, c Change) error {
	return r.during(func() error { return r.Change(ctx, c) })
}

func (r *runner) during(what func() error) error {
	from := r.since()
	err := what()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.windows = append(r.windows, window{from, r.since()})
	return err
}

// bring lets a node go and come back: its clients end their connections after
// the next answer, as those do that were told to by a server which is about to
// stop.
func (r *runner) bring(ctx context.Context, c Change) error {
	node := r.Lab().Nodes[c.Node-1].Name
	if err := r.change(ctx, Change{Kind: Drain, Node: c.Node, On: c.On}); err != nil {
		return err
	}
	r.leave(node, true)
	defer r.leave(node, false)
	if err := r.Emptied(ctx, c.Node); err != nil {
		return fmt.Errorf("wait for %s to be empty: %w", node, err)
	}
	if err := r.during(func() error { return r.Restart(ctx, c.Node) }); err != nil {
		return err
	}
	return r.change(ctx, Change{Kind: Undrain, Node: c.Node, On: c.Node})
}

func (r *runner) say(format string, args ...any) {
	fmt.Fprintf(r.log, "%6.1f s  %s\n", r.since().Seconds(), fmt.Sprintf(format, args...))
}
