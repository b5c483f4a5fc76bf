package agent

import (
	"encoding/json"
	"fmt"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/control"
	"github.com/shoal-net/shoal/internal/member"
)

// Drain asks for a node to give its buckets away and to stay, on whichever node
// this is. The view shows when it has been taken up: NodeStatus.DrainedBy.
func Drain(p Paths, node int) error { return order(p, member.Drain, node, 0) }

// Undrain asks for the opposite.
func Undrain(p Paths, node int) error { return order(p, member.Undrain, node, 0) }

// SetWeight asks for another weight than the file's, 0..cluster.MaxWeight: see
// NodeStatus.OrderedBy.
func SetWeight(p Paths, node, weight int) error {
	if weight < 0 || weight > cluster.MaxWeight {
		return fmt.Errorf("weight %d: it must be 0 to %d", weight, cluster.MaxWeight)
	}
	return order(p, member.SetWeight, node, weight)
}

// ResetWeight asks for the weight in the node's own file.
func ResetWeight(p Paths, node int) error { return order(p, member.ResetWeight, node, 0) }

func order(p Paths, kind member.OrderKind, node, weight int) error {
	if node < 1 || node > cluster.MaxNodes {
		return fmt.Errorf("node %d: it must be 1 to %d", node, cluster.MaxNodes)
	}
	o := member.Order{Kind: kind, Node: member.NodeID(node), Weight: uint16(weight)}
	return control.Ask(p.socket(), patience, opOrder, o, nil)
}

// order passes an order on.
func (a *Agent) order(args json.RawMessage) error {
	var o member.Order
	if err := json.Unmarshal(args, &o); err != nil {
		return fmt.Errorf("understand the order: %w", err)
	}
	if _, ok := a.cluster.Node(int(o.Node)); !ok {
		return fmt.Errorf("cluster %s has no node %d", a.cluster.Name, o.Node)
	}
	return a.heart.Order(o)
}
