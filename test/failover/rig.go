// Package failover strikes clusters in the lab with faults, again and again,
// and measures what their clients see: how long they had no service, who was
// interrupted without need, and whether any packet was handled twice. It knows
// shoal, and peers that the caller brings.
package failover

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/shoal-net/shoal/internal/lab"
)

// A Cluster is what fails over.
type Cluster interface {
	// Whole says whether nodes other than those that are down serve
	// everything, each part of it one of them alone.
	Whole(down []int) (bool, error)
	// Leader is the node whose loss may hurt most.
	Leader() (int, error)
	// Victim is the node that faults of one node strike in a turn.
	Victim(turn int) (int, error)
	Inject(lab.Fault) (lab.Heal, error)
	// Owners says which node serves each part of what the cluster serves, 0
	// where that is none or several; nil if it has no parts.
	Owners() ([]int, error)
	// Takeovers is how often nodes have taken something over so far.
	Takeovers() int
}

// A Rig is a cluster under observation.
type Rig struct {
	Lab     *lab.Lab
	Monitor *lab.Monitor
	Cluster Cluster
	// Quiet is how long all clients must have been served before the cluster
	// counts as settled. More than the time in which it notices a failure.
	Quiet time.Duration
	// Patience is how long it may take until then.
	Patience time.Duration
	Ask      bool // whether nodes that were given up still answer

	close []func() error
}

// An Outcome is what one fault did. Times without service are those of one
// client each.
type Outcome struct {
	Case   string
	Struck []int
	// Gaps has an entry for each client of the nodes that were struck, 0 for
	// one that lost nothing.
	Gaps []time.Duration
	// Needless are the gaps of other clients, and of all clients after the
	// fault where they stayed with their node.
	Needless []time.Duration
	// Moves are the gaps of clients that went to another node because one came
	// back, 0 for one that lost nothing.
	Moves []time.Duration
	// Strays are the parts (in shoal: buckets) that another node served, or
	// none, when the cluster had got over the fault, although the one that had
	// them was not struck.
	Strays  int
	Doubles int // packets that more nodes than one handled
	Settled bool
	Healed  bool
	// Answers says that a node that was given up still answered what was sent
	// to its own MAC, to the cluster address. Only where Rig.Ask is set.
	Answers bool
	Took    time.Duration
}

// ErrUnsettled: the cluster does not serve all clients, whatever the reason.
var ErrUnsettled = errors.New("the cluster does not settle")

// poll is how often a rig looks whether the cluster has settled.
const poll = 5 * time.Millisecond

// Settle waits until the cluster serves all clients without the nodes that are
// down, and has done so for Quiet, not counting what was before since. It says
// until when all clients were served: they were also after the cluster was whole,
// for what made it so may have interrupted them.
func (r *Rig) Settle(ctx context.Context, since time.Time, down []int) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	ticks := time.NewTicker(poll)
	defer ticks.Stop()
	var whole time.Time // since when, as far as looked
	for {
		if until, ok := r.Monitor.Steady(since, r.Quiet); ok {
			now := time.Now()
			switch ok, err := r.Cluster.Whole(down); {
			case err != nil:
				return until, err
			case !ok:
				whole = time.Time{}
			case whole.IsZero():
				whole = now
			case until.After(whole):
				return until, nil
			}
		}
		select {
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("%w in %v", ErrUnsettled, r.Patience)
		case <-ticks.C:
		}
	}
}

// Run lets the fault of a case happen once, and ends it. An error means that
// the rig is of no more use.
func (r *Rig) Run(ctx context.Context, c Case, turn int) (Outcome, error) {
	if _, err := r.Settle(ctx, time.Now().Add(-r.Quiet), nil); err != nil {
		return Outcome{}, fmt.Errorf("before the fault: %w", err)
	}
	leader, err := r.Cluster.Leader()
	if err != nil {
		return Outcome{}, err
	}
	victim, err := r.Cluster.Victim(turn)
	if err != nil {
		return Outcome{}, err
	}
	fault, struck := c.strike(len(r.Lab.Nodes), turn, victim, leader)
	o := Outcome{Case: c.Name, Struck: struck}
	parts, err := r.Cluster.Owners()
	if err != nil {
		return Outcome{}, err
	}
	began := time.Now()
	owners := r.Monitor.Owners(began)
	heal, err := r.Cluster.Inject(fault)
	if err != nil {
		return o, err
	}
	faultEnd, err := r.outlast(ctx, c, began, struck)
	if o.Settled = err == nil; err != nil && !errors.Is(err, ErrUnsettled) {
		return o, errors.Join(err, heal(ctx))
	}
	if !c.returns() { // what comes back takes its share from the others
		if o.Strays, err = r.strays(parts, struck); err != nil {
			return o, errors.Join(err, heal(ctx))
		}
	}
	if r.Ask && o.Settled && !c.returns() {
		if o.Answers, err = r.answers(struck); err != nil {
			return o, errors.Join(err, heal(ctx))
		}
	}
	s := span{began, faultEnd, owners, r.Monitor.Owners(faultEnd)}
	if err := heal(ctx); err != nil {
		return o, err
	}
	if c.length > 0 { // the fault went on until now
		s.over = time.Now()
	}
	end, err := r.Settle(ctx, time.Now(), nil)
	if o.Healed = err == nil; !o.Healed {
		end = time.Now()
	}
	if err := r.flush(ctx); err != nil {
		return o, err
	}
	o.Took = time.Since(began)
	r.count(&o, c, s, end)
	r.Monitor.Forget(end)
	if !o.Healed {
		return o, fmt.Errorf("after the fault: %w", err)
	}
	return o, r.Monitor.Err()
}

// outlast waits until the cluster has got over a fault, or for as long as it is
// to last.
func (r *Rig) outlast(ctx context.Context, c Case, began time.Time, struck []int) (time.Time, error) {
	if c.length > 0 {
		if err := sleep(ctx, c.length); err != nil {
			return time.Time{}, err
		}
		return time.Now(), nil
	}
	down := struck
	if c.returns() || c.who == everybody {
		down = nil
	}
	until, err := r.Settle(ctx, began, down)
	if err != nil {
		until = time.Now()
	}
	return until, err
}

// strays counts the parts that were not with nodes that were struck, and are
// not where they were.
func (r *Rig) strays(before []int, struck []int) (n int, err error) {
	now, err := r.Cluster.Owners()
	if err != nil {
		return 0, err
	}
	for i, owner := range before {
		if !slices.Contains(struck, owner) && now[i] != owner {
			n++
		}
	}
	return n, nil
}

// flush waits until the nodes have logged what they handled.
func (r *Rig) flush(ctx context.Context) error { return sleep(ctx, 3*lab.LogDelay) }

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// A span is a fault: when it began and was over for the cluster, and who owned
// which client just before either.
type span struct {
	began, over  time.Time
	before, then map[netip.Addr]int
}

// count says who lost service because of the fault, and who lost it although
// its node had no part in it.
func (r *Rig) count(o *Outcome, c Case, s span, end time.Time) {
	gaps := map[netip.Addr]time.Duration{}
	for _, g := range r.Monitor.Gaps(s.began, s.over) {
		if g.Lost > c.patient() {
			gaps[g.Client] = max(gaps[g.Client], g.Length())
		}
	}
	for _, client := range r.Monitor.Clients() {
		gap, lost := gaps[client]
		switch {
		case slices.Contains(o.Struck, s.before[client]):
			o.Gaps = append(o.Gaps, gap)
		case c.returns() && s.before[client] != s.then[client]:
			o.Moves = append(o.Moves, gap)
		case lost:
			o.Needless = append(o.Needless, gap)
		}
	}
	clear(gaps)
	for _, g := range r.Monitor.Gaps(s.over, end) {
		if !g.From.Before(s.over) {
			gaps[g.Client] = max(gaps[g.Client], g.Length())
		}
	}
	after := r.Monitor.Owners(end)
	for _, client := range r.Monitor.Clients() {
		gap, lost := gaps[client]
		if s.then[client] != after[client] {
			o.Moves = append(o.Moves, gap)
		} else if lost {
			o.Needless = append(o.Needless, gap)
		}
	}
	o.Doubles = len(r.Monitor.Doubles(s.began, end))
}
