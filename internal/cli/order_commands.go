package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-net/shoal/internal/agent"
	"github.com/shoal-net/shoal/internal/heartbeat"
)

// orderOptions are the options of the commands about a node.
type orderOptions struct {
	instance, cluster, output string
	force, noWait             bool
	timeout                   time.Duration
}

func (o *orderOptions) register(cmd *cobra.Command) {
	instanceFlag(cmd, &o.instance)
	cmd.Flags().StringVar(&o.cluster, "cluster", "", "the `name` of the cluster, where several run on this host")
	cmd.Flags().StringVarP(&o.output, "output", "o", "text", "text or json")
}

const forceHelp = "also where no other node serves"

func drainCommand(env *Env) *cobra.Command {
	var o orderOptions
	cmd := &cobra.Command{
		Use:   "drain NODE",
		Short: "Take a node out of service: others get its buckets, it keeps its connections",
		Long: `Hands the buckets of a node, given by name or id, over to the others, and waits
until that is complete: the node stays in the cluster and keeps the connections
that it has until they end, as far as the file lets it; new ones go to the
others. It can be asked for on any node, and holds until shoal undrain, whatever
restarts meanwhile. Ctrl-C and --timeout end the waiting only; asking again waits
again.`,
		Example: `  shoal drain beta
  shoal drain 2 --timeout 10m && ssh beta poweroff`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), env, args[0], order{kind: drain})
		},
	}
	o.register(cmd)
	cmd.Flags().BoolVar(&o.noWait, "no-wait", false, "return when the nodes have agreed on it")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "wait no longer than this, such as 10m; 0: for as long as it takes")
	cmd.Flags().BoolVar(&o.force, "force", false, forceHelp)
	return cmd
}

func undrainCommand(env *Env) *cobra.Command {
	var o orderOptions
	cmd := &cobra.Command{
		Use:   "undrain NODE",
		Short: "End the drain of a node: it gets a share of the buckets again",
		Long: `Ends the drain of a node, given by name or id; it can be asked for on any node.
It returns when the nodes have agreed on it.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), env, args[0], order{kind: undrain})
		},
	}
	o.register(cmd)
	return cmd
}

func weightCommand(env *Env) *cobra.Command {
	var o orderOptions
	cmd := &cobra.Command{
		Use:   "weight NODE WEIGHT|file",
		Short: "Give a node a larger or smaller share of the buckets",
		Long: `Gives a node, given by name or id, another weight than its file does: 0 to 1000,
100 being one share; with 0 it takes no new connections. It can be asked for on
any node, and holds until another weight is asked for; "file" goes back to the
one in the node's file. It returns when the nodes have agreed on it.`,
		Example: `  shoal weight beta 50
  shoal weight beta file`,
		Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, weight, err := parseWeight(args[1])
			if err != nil {
				return usageError{err}
			}
			return o.run(cmd.Context(), env, args[0], order{kind: kind, weight: weight})
		},
	}
	o.register(cmd)
	cmd.Flags().BoolVar(&o.force, "force", false, "weight 0 "+forceHelp)
	return cmd
}

// run finds the cluster and carries the order out.
func (o *orderOptions) run(ctx context.Context, env *Env, node string, what order) error {
	if o.output != "text" && o.output != "json" {
		return usageError{fmt.Errorf("-o %q: must be text or json", o.output)}
	}
	if o.timeout < 0 {
		return usageError{fmt.Errorf("--timeout %v: must not be less than 0", o.timeout)}
	}
	if o.noWait && o.timeout > 0 {
		return usageError{errors.New("--no-wait and --timeout: choose one")}
	}
	if os.Geteuid() != 0 {
		return errors.New("must be root: the agent takes commands from nobody else")
	}
	paths, err := o.paths()
	if err != nil {
		return err
	}
	return o.carryOut(ctx, env, localAgent{paths}, node, what)
}

// paths finds the cluster that is meant.
func (o *orderOptions) paths() (agent.Paths, error) {
	name := o.cluster
	if name == "" {
		all, err := agent.Clusters(o.instance)
		switch {
		case err != nil:
			return agent.Paths{}, err
		case len(all) == 0:
			return agent.Paths{}, errors.New("no cluster runs on this host")
		case len(all) > 1:
			return agent.Paths{}, usageError{fmt.Errorf("there are several clusters here: say which with --cluster: %s", strings.Join(all, ", "))}
		}
		name = all[0]
	}
	p, err := agent.NewPaths(o.instance, name)
	if err != nil {
		return p, usageError{err}
	}
	return p, nil
}

// localAgent is the agent on this host.
type localAgent struct{ paths agent.Paths }

func (l localAgent) Members() (*heartbeat.Status, error) {
	m, err := agent.Members(l.paths)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", l.paths.Cluster, err)
	}
	return m, nil
}

func (l localAgent) Order(o order) error {
	switch o.kind {
	case drain:
		return agent.Drain(l.paths, o.node)
	case undrain:
		return agent.Undrain(l.paths, o.node)
	case setWeight:
		return agent.SetWeight(l.paths, o.node, o.weight)
	default:
		return agent.ResetWeight(l.paths, o.node)
	}
}

func (l localAgent) Withdraw(node int) error { return agent.Withdraw(l.paths, node) }

// orderResult is what came of an order.
type orderResult struct {
	Order    orderKind `json:"order"`
	Node     int       `json:"node"`
	Name     string    `json:"name"`
	Weight   int       `json:"weight"`             // that counts in the view
	Changed  bool      `json:"changed"`            // false: it was so before
	AskedOn  string    `json:"asked_on,omitempty"` // the node where it was first asked for; of a drain or a weight
	Buckets  int       `json:"buckets"`            // that the node owns now
	Draining int       `json:"draining"`           // that it gave up, and has flows of still
	Complete bool      `json:"complete"`           // of a drain: there are neither
	Seconds  float64   `json:"seconds"`            // that it took
}

// carryOut gives an order, waits where that is asked for, and says what came of
// it.
func (o *orderOptions) carryOut(ctx context.Context, env *Env, s station, node string, what order) error {
	began := time.Now()
	m, err := s.Members()
	if err != nil {
		return err
	}
	n, err := findNode(m, node)
	if err != nil {
		return usageError{err}
	}
	what.node = n.ID
	if !informed(m) || !what.done(m) {
		if err := what.check(m, o.force); err != nil {
			return err
		}
	}
	total := n.Buckets + n.Draining
	m, changed, err := what.give(ctx, s, takenTime)
	if err != nil {
		return fmt.Errorf("%s of %s: %w", what.kind, n.Name, err)
	}
	r := orderResult{Order: what.kind, Changed: changed, AskedOn: what.by(m)}
	var waitErr error
	if what.kind == drain && !o.noWait {
		screen := &drainScreen{w: env.Stderr, terminal: isTerminal(env.Stderr)}
		_, waitErr = awaitDrain(ctx, s, n.ID, total, o.timeout, screen.show)
		screen.end()
		if now, err := s.Members(); err == nil {
			m = now
		}
	}
	r.describe(nodeByID(m, n.ID), time.Since(began))
	if errors.Is(waitErr, errInterrupted) {
		fmt.Fprintf(env.Stderr, "not waiting any longer: the drain of %s goes on; `shoal undrain %s` ends it\n", r.Name, r.Name)
		waitErr = errQuiet
	}
	if waitErr == nil || o.output == "json" {
		return errors.Join(r.print(env, o.output), waitErr)
	}
	return waitErr
}

func (r *orderResult) describe(n *heartbeat.NodeStatus, took time.Duration) {
	r.Node, r.Name, r.Weight, r.Buckets, r.Draining = n.ID, n.Name, n.Weight, n.Buckets, n.Draining
	r.Complete = r.Order == drain && n.DrainedBy != 0 && n.Buckets+n.Draining == 0
	r.Seconds = took.Seconds()
}

func (r *orderResult) print(env *Env, output string) error {
	if output == "json" {
		enc := json.NewEncoder(env.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	_, err := fmt.Fprintln(env.Stdout, r)
	return err
}

// String tells it in words.
func (r *orderResult) String() string {
	already := ""
	if !r.Changed {
		already = " already"
		if r.AskedOn != "" {
			already += ", asked for on " + r.AskedOn
		}
	}
	switch {
	case r.Order == drain && r.Complete:
		return fmt.Sprintf("%s is drained%s: it has no buckets and no flows of them", r.Name, already)
	case r.Order == drain:
		return fmt.Sprintf("%s is being drained%s: %d buckets with flows left", r.Name, already, r.Buckets+r.Draining)
	case r.Order == undrain && r.Changed:
		return fmt.Sprintf("%s is drained no more: it has %d buckets", r.Name, r.Buckets)
	case r.Order == undrain:
		return fmt.Sprintf("%s is not drained: it has %d buckets", r.Name, r.Buckets)
	case r.Order == setWeight:
		return fmt.Sprintf("%s has weight %d%s, and %d buckets", r.Name, r.Weight, already, r.Buckets)
	default:
		return fmt.Sprintf("%s has the weight of its file%s, %d, and %d buckets", r.Name, already, r.Weight, r.Buckets)
	}
}
