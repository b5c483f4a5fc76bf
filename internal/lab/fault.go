package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/shoal-net/shoal/internal/cluster"
)

// FaultKind is a way in which a lab goes wrong.
type FaultKind uint8

// The kinds of faults.
const (
	KillAgent       FaultKind = iota // SIGKILL to the agent; healed by a new one
	KillHeartbeat                    // SIGKILL to the heartbeat process; the agent starts another
	KillBoth                         // SIGKILL to both
	FreezeAgent                      // SIGSTOP to the agent; healed by SIGCONT
	FreezeHeartbeat                  // SIGSTOP to the heartbeat process
	FreezeBoth                       // SIGSTOP to both
	Unplug                           // the switch's end of the node's links goes down: no carrier
	LinkDown                         // the node's end of its links is set down
	Mute                             // nothing that the node sends arrives anywhere
	Deaf                             // nothing arrives at the node
	Partition                        // nodes of different groups do not hear each other
	Loss                             // of what crosses the switch, for each receiver by itself
	PowerOff                         // SIGKILL to all processes of the node, its links gone
	RestartAll                       // SIGKILL to all agents at once, and new ones at once
	Saturate                         // processes that use all CPU time there is
	Drain                            // shoal drain, given on another node where there is one; healed by shoal undrain
	Undrain                          // shoal undrain; healed by shoal drain
	Weigh                            // shoal weight; healed by the weight of the node's file
	FaultKinds                       // how many there are
)

var faultWords = [FaultKinds]string{"kill-agent", "kill-heartbeat", "kill-both", "freeze-agent", "freeze-heartbeat",
	"freeze-both", "unplug", "link-down", "mute", "deaf", "partition", "loss", "power-off", "restart-all", "saturate", "drain", "undrain", "weight"}

func (k FaultKind) String() string { return faultWords[k] }

// MarshalText gives the kind's word.
func (k FaultKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText parses a kind's word.
func (k *FaultKind) UnmarshalText(b []byte) error {
	i := slices.Index(faultWords[:], string(b))
	if i < 0 {
		return fmt.Errorf("%q is no kind of fault", b)
	}
	*k = FaultKind(i)
	return nil
}

// Sides is a set of the sides of a gateway; the zero value is all sides that
// there are.
type Sides uint8

// The sides.
const (
	ClientSide Sides = 1 << iota
	ServerSide
)

func (s Sides) has(one Sides) bool { return s == 0 || s&one != 0 }

// Fault is something that goes wrong, for all of its nodes at once.
type Fault struct {
	Kind   FaultKind
	Nodes  []int // ids of the nodes that it strikes; Partition, Loss, RestartAll and Saturate take none
	Groups [][]int
	// Clients is which group of a partition clients stay with, 1 being the
	// first; 0: all. Nodes of no group hear everybody.
	Clients int
	Sides   Sides   // of Unplug, LinkDown, Mute and Deaf
	Percent float64 // of Loss, 0..100
	Weight  int     // of Weigh, 0..cluster.MaxWeight
}

// Heal ends a fault, and waits for nothing but for agents to be ready.
type Heal func(ctx context.Context) error

// Inject lets a fault happen. The lab may be closed without healing it. Where
// it fails, nothing is left of the fault but processes that are gone.
func (l *Lab) Inject(f Fault) (Heal, error) {
	if err := l.plan.CheckFault(f); err != nil {
		return nil, err
	}
	heal, err := l.inject(f)
	if err != nil {
		return nil, fmt.Errorf("inject %s: %w", f.Kind, err)
	}
	return func(ctx context.Context) error {
		if err := heal(ctx); err != nil {
			return fmt.Errorf("heal %s: %w", f.Kind, err)
		}
		return nil
	}, nil
}

// CheckFault says what is wrong with a fault of a lab with these options.
func (o Options) CheckFault(f Fault) error {
	nodes := f.Nodes
	for _, g := range f.Groups {
		nodes = append(slices.Clone(nodes), g...)
	}
	for i, id := range nodes {
		switch {
		case id < 1 || id > o.Nodes:
			return fmt.Errorf("%s: there is no node %d", f.Kind, id)
		case slices.Contains(nodes[:i], id):
			return fmt.Errorf("%s: node %d is named twice", f.Kind, id)
		}
	}
	switch f.Kind {
	case Partition:
		if len(f.Groups) < 2 || f.Clients < 0 || f.Clients > len(f.Groups) {
			return fmt.Errorf("%s: two groups or more, and clients with one of them or with all", f.Kind)
		}
	case Loss:
		if !(f.Percent >= 0 && f.Percent <= 100) {
			return fmt.Errorf("%s: %v %% is not from 0 to 100", f.Kind, f.Percent)
		}
	case RestartAll, Saturate:
	case Weigh:
		if f.Weight < 0 || f.Weight > cluster.MaxWeight {
			return fmt.Errorf("%s: %d is not from 0 to %d", f.Kind, f.Weight, cluster.MaxWeight)
		}
		fallthrough
	default:
		if len(f.Nodes) == 0 {
			return fmt.Errorf("%s: of which node?", f.Kind)
		}
	}
	if f.Sides == ServerSide && o.Mode != cluster.Gateway {
		return fmt.Errorf("%s: a backend has no server side", f.Kind)
	}
	return nil
}

func (l *Lab) inject(f Fault) (Heal, error) {
	nodes := make([]*Node, len(f.Nodes))
	for i, id := range f.Nodes {
		nodes[i] = l.Nodes[id-1]
	}
	switch f.Kind {
	case KillAgent, KillBoth, KillHeartbeat:
		return kill(nodes, f.Kind != KillHeartbeat, f.Kind != KillAgent)
	case FreezeAgent, FreezeBoth, FreezeHeartbeat:
		return freeze(nodes, f.Kind != FreezeHeartbeat, f.Kind != FreezeAgent)
	case Unplug:
		return l.unplug(f)
	case LinkDown:
		return l.linkDown(f)
	case PowerOff:
		return l.powerOff(nodes)
	case RestartAll:
		return l.restartAll()
	case Saturate:
		return l.saturate()
	case Drain, Undrain, Weigh:
		return l.order(nodes, f)
	default:
		return l.Switch.cut(l.plan.cuts(f))
	}
}

// each does something with all nodes at once.
func each(nodes []*Node, do func(*Node) error) error {
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = do(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
