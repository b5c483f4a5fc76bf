package lab

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// orderTime is how long the nodes may take to agree on an order.
const orderTime = 10 * time.Second

// order lets nodes be drained, undrained or weighed.
func (l *Lab) order(nodes []*Node, f Fault) (Heal, error) {
	give := func(ctx context.Context, args func(node string) []string) error {
		return each(nodes, func(n *Node) error { return l.command(ctx, n, args(strconv.Itoa(n.ID))) })
	}
	drain := func(node string) []string { return []string{"drain", node, "--no-wait", "--force"} }
	undrain := func(node string) []string { return []string{"undrain", node} }
	there, back := drain, undrain
	switch f.Kind {
	case Undrain:
		there, back = undrain, drain
	case Weigh:
		there = func(node string) []string {
			return []string{"weight", node, strconv.Itoa(f.Weight), "--force"}
		}
		back = func(node string) []string { return []string{"weight", node, "file"} }
	}
	if err := give(context.Background(), there); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return give(ctx, back) }, nil
}

// command runs a command about a node on another one, if another one runs.
func (l *Lab) command(ctx context.Context, about *Node, args []string) error {
	at := about
	if i := slices.IndexFunc(l.Nodes, func(n *Node) bool { return n != about && n.Running() }); i >= 0 {
		at = l.Nodes[i]
	}
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	if _, err := at.NS.Run(ctx, l.plan.Binary, append(args, "--instance", at.Instance)...); err != nil {
		return fmt.Errorf("on %s: %w", at.Name, err)
	}
	return nil
}
