package sim

import (
	"fmt"
	"strconv"

	"github.com/shoal-net/shoal/internal/member"
)

var orders = map[string]member.OrderKind{
	"drain": member.Drain, "undrain": member.Undrain, "weight": member.SetWeight, "reset": member.ResetWeight,
}

// doOrder gives a command about a node on a host.
func doOrder(w *World, h *host, args []string) error {
	if len(args) < 2 || orders[args[0]] == member.NoOrder || len(args) != 2+b2i(args[0] == "weight") {
		return fmt.Errorf("want drain, undrain or reset and a node, or weight, a node and its weight")
	}
	o := member.Order{Kind: orders[args[0]]}
	n, err := strconv.ParseUint(args[1], 10, 8)
	if err != nil || n < 1 || n > uint64(w.Nodes+w.Spare) {
		return fmt.Errorf("no node %s", args[1])
	}
	o.Node = member.NodeID(n)
	if o.Kind == member.SetWeight {
		weight, err := strconv.ParseUint(args[2], 10, 16)
		if err != nil || weight > member.MaxWeight {
			return fmt.Errorf("weight %s: want 0 to %d", args[2], member.MaxWeight)
		}
		o.Weight = uint16(weight)
	}
	if h.running() {
		w.oracle.ordered = append(w.oracle.ordered, order{h.id, o})
		h.process.Order(h.clock.read(w.now), o)
		w.perform(h)
	}
	return nil
}

// doHealth is what the checks of a host come to.
func doHealth(w *World, h *host, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want a weight")
	}
	limit, err := strconv.ParseUint(args[0], 10, 16)
	if err != nil || limit > member.MaxWeight {
		return fmt.Errorf("%s: want 0 to %d", args[0], member.MaxWeight)
	}
	h.limit = uint16(limit)
	w.inform(h)
	return nil
}
