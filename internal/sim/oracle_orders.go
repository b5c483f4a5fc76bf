package sim

import "github.com/shoal-net/shoal/internal/member"

// order is a command, and the node that it was given on.
type order struct {
	by member.NodeID
	member.Order
}

// obeyed checks that a view changes what was ordered for a node only if that was
// asked for, and that nobody keeps a bucket for a node that is gone.
func (c *chosen) obeyed(w *World, v *member.View) {
	for _, move := range v.Moves {
		for n := member.NodeID(1); n <= member.MaxNodes; n++ {
			if move.Old.Has(n) && !v.Members[n-1].Live() {
				w.fail("flows: view %d keeps bucket %d for node %d, which is gone", v.Epoch, move.Bucket, n)
			}
		}
	}
	parent := c.views[v.Parent]
	if parent == nil {
		return
	}
	for i := range v.Members {
		was, e, n := parent.Members[i], v.Members[i], member.NodeID(i+1)
		drained := was.Drained == e.Drained || c.asked(n, member.Drain, e.Drained) || e.Drained == 0 && c.asked(n, member.Undrain, 0)
		weighed := was.OrderedBy == e.OrderedBy && was.Ordered == e.Ordered || c.asked(n, member.SetWeight, e.OrderedBy) ||
			e.OrderedBy == 0 && c.asked(n, member.ResetWeight, 0)
		if !drained || !weighed {
			w.fail("orders: view %d changes what was ordered for node %d, which nobody asked for", v.Epoch, n)
		}
	}
}

// asked reports whether something was ever ordered for a node, on some node; 0: on any.
func (c *chosen) asked(n member.NodeID, k member.OrderKind, by member.NodeID) bool {
	for _, o := range c.ordered {
		if o.Node == n && o.Kind == k && (by == 0 || o.by == by) {
			return true
		}
	}
	return false
}
