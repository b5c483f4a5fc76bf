package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/heartbeat"
)

// orderKind is what can be asked for about a node.
type orderKind string

const (
	drain       orderKind = "drain"
	undrain     orderKind = "undrain"
	setWeight   orderKind = "weight"
	resetWeight orderKind = "file weight"
)

// order is a command about a node, given on this one.
type order struct {
	kind   orderKind
	node   int
	weight int // of setWeight, 0..cluster.MaxWeight
}

// station is the agent on this host, which passes orders on.
type station interface {
	Members() (*heartbeat.Status, error)
	Order(o order) error
	Withdraw(node int) error
}

// How orders are given.
const (
	takenTime   = 5 * time.Second       // after which an order that no view has is withdrawn
	takenPeriod = 20 * time.Millisecond // between two looks whether one has
	repeatTime  = time.Second           // after which it is given again: another one may have come in between
)

// parseWeight reads a weight, or the word for that of the node's file.
func parseWeight(word string) (kind orderKind, weight int, err error) {
	if word == "file" {
		return resetWeight, 0, nil
	}
	weight, err = strconv.Atoi(word)
	if err != nil || weight < 0 || weight > cluster.MaxWeight {
		return "", 0, fmt.Errorf("weight %q: must be 0 to %d, %d being one share, or the word `file` for the weight in the node's own file",
			word, cluster.MaxWeight, cluster.DefaultWeight)
	}
	return setWeight, weight, nil
}

// findNode returns the node of that name, or else of that id.
func findNode(m *heartbeat.Status, word string) (*heartbeat.NodeStatus, error) {
	id, notID := strconv.Atoi(word)
	var all []string
	for i := range m.Nodes {
		if m.Nodes[i].Name == word {
			return &m.Nodes[i], nil
		}
		all = append(all, fmt.Sprintf("%s (%d)", m.Nodes[i].Name, m.Nodes[i].ID))
	}
	for i := range m.Nodes {
		if notID == nil && m.Nodes[i].ID == id {
			return &m.Nodes[i], nil
		}
	}
	return nil, fmt.Errorf("there is no node %q; there are %s", word, strings.Join(all, ", "))
}

func nodeByID(m *heartbeat.Status, id int) *heartbeat.NodeStatus {
	for i := range m.Nodes {
		if m.Nodes[i].ID == id {
			return &m.Nodes[i]
		}
	}
	return &heartbeat.NodeStatus{ID: id, Name: fmt.Sprintf("node %d", id)}
}

// done reports whether the view in force is as the order asks for.
func (o order) done(m *heartbeat.Status) bool {
	n := nodeByID(m, o.node)
	switch o.kind {
	case drain:
		return n.DrainedBy != 0
	case undrain:
		return n.DrainedBy == 0
	case setWeight:
		return n.OrderedBy != 0 && n.Ordered == o.weight
	default:
		return n.OrderedBy == 0
	}
}

// by is where what the order asks for was asked for.
func (o order) by(m *heartbeat.Status) string {
	n := nodeByID(m, o.node)
	switch {
	case o.kind == drain && n.DrainedBy != 0:
		return nodeByID(m, n.DrainedBy).Name
	case o.kind == setWeight && n.OrderedBy != 0:
		return nodeByID(m, n.OrderedBy).Name
	}
	return ""
}

// check refuses what cannot be meant.
func (o order) check(m *heartbeat.Status, force bool) error {
	n := nodeByID(m, o.node)
	if n.VotesOnly && o.kind != undrain {
		return fmt.Errorf("%s only votes (`serve: false` in the file): it handles nothing, and has no weight", n.Name)
	}
	empties := o.kind == drain || o.kind == setWeight && o.weight == 0
	others := slices.ContainsFunc(m.Nodes, func(other heartbeat.NodeStatus) bool {
		return other.ID != o.node && other.Present && other.State == "serving" && other.Weight > 0
	})
	if empties && !others && !force {
		return fmt.Errorf("no node but %s serves: new clients would find nobody; --force does it all the same", n.Name)
	}
	return nil
}

// informed reports whether this node hears enough others to know which view is
// in force.
func informed(m *heartbeat.Status) bool {
	return m.View != nil && 2*(len(m.View.Voters)-len(silent(m))) > len(m.View.Voters)
}

// silent names the voters that this node does not hear.
func silent(m *heartbeat.Status) (names []string) {
	if m.View == nil {
		return nil
	}
	for _, id := range m.View.Voters {
		if n := nodeByID(m, id); !n.Present {
			names = append(names, n.Name)
		}
	}
	return names
}

// whyNot says why no view has taken an order.
func whyNot(m *heartbeat.Status) string {
	switch {
	case m == nil:
		return "this node does not answer"
	case m.View == nil:
		return "this node knows of no view yet: it is " + m.State
	case !informed(m):
		return fmt.Sprintf("no majority: of %d voters this node does not hear %s", len(m.View.Voters), strings.Join(silent(m), ", "))
	}
	return "the nodes do not agree on a new one: see `shoal status`"
}

// give sees to it that the view in force is as the order asks for. changed: it
// was not so before. An order that no view takes in time is withdrawn.
func (o order) give(ctx context.Context, s station, timeout time.Duration) (m *heartbeat.Status, changed bool, err error) {
	if m, err = s.Members(); err != nil {
		return nil, false, err
	}
	if informed(m) && o.done(m) {
		return m, false, nil
	}
	over, tick := time.After(timeout), time.NewTicker(takenPeriod)
	defer tick.Stop()
	var given time.Time
	for {
		if time.Since(given) >= repeatTime {
			given = time.Now()
			err = s.Order(o)
		}
		select {
		case <-ctx.Done():
			return nil, false, errors.Join(errors.New("interrupted before any view had it: it was withdrawn"), s.Withdraw(o.node))
		case <-over:
			return nil, false, errors.Join(fmt.Errorf("no view had it within %v, so it was withdrawn: %s", timeout, whyNot(m)), err, s.Withdraw(o.node))
		case <-tick.C:
		}
		now, askErr := s.Members()
		if askErr != nil {
			continue // an agent may be about to take over from this one
		}
		if m = now; informed(m) && o.done(m) {
			return m, true, nil
		}
	}
}
