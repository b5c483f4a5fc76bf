package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// isOf says whether a cable is one of a node's, on one of the sides.
func (c cable) isOf(node string, s Sides) bool {
	side := ClientSide
	if c.bridge == serverBridge {
		side = ServerSide
	}
	return c.b.part == node && s.has(side)
}

// cablesOf lists the cables of some nodes.
func (p plan) cablesOf(nodes []int, s Sides) []cable {
	var all []cable
	for _, c := range p.cables() {
		for _, id := range nodes {
			if c.isOf(nodeName(id), s) {
				all = append(all, c)
			}
		}
	}
	return all
}

// restore gives the interface at a cable's end what it is to have: a link that
// goes down loses its IPv6 addresses and its routes.
func (l *Lab) restore(c cable) error {
	for _, i := range l.plan.ifaces() {
		if i.part == c.b.part && i.link == c.b.link {
			return l.network.configure(i)
		}
	}
	return fmt.Errorf("no interface %s of %s in the plan", c.b.link, c.b.part)
}

// unplug takes the carrier from the nodes' links, at the switch.
func (l *Lab) unplug(f Fault) (Heal, error) {
	cables := l.plan.cablesOf(f.Nodes, f.Sides)
	set := func(up bool) error {
		var errs []error
		for _, c := range cables {
			errs = append(errs, l.network[c.a.part].setLink(c.a.link, up))
		}
		return errors.Join(errs...)
	}
	if err := set(false); err != nil {
		return nil, errors.Join(err, set(true))
	}
	return func(context.Context) error { return set(true) }, nil
}

// linkDown sets the nodes' links down, at the nodes.
func (l *Lab) linkDown(f Fault) (Heal, error) {
	cables := l.plan.cablesOf(f.Nodes, f.Sides)
	up := func(context.Context) error {
		var errs []error
		for _, c := range cables {
			errs = append(errs, l.restore(c))
		}
		return errors.Join(errs...)
	}
	for _, c := range cables {
		if err := l.network[c.b.part].setLink(c.b.link, false); err != nil {
			return nil, errors.Join(err, up(context.Background()))
		}
	}
	return up, nil
}

func (ns *Namespace) setLink(name string, up bool) error {
	set, state := ns.links.LinkSetDown, "down"
	if up {
		set, state = ns.links.LinkSetUp, "up"
	}
	link, err := ns.links.LinkByName(name)
	if err == nil {
		err = set(link)
	}
	if err != nil {
		return fmt.Errorf("set %s of %s %s: %w", name, ns.Name, state, err)
	}
	return nil
}

func (ns *Namespace) removeLink(name string) error {
	link, err := ns.links.LinkByName(name)
	if err == nil {
		err = ns.links.LinkDel(link)
	}
	if err != nil {
		return fmt.Errorf("remove %s of %s: %w", name, ns.Name, err)
	}
	return nil
}

// powerOff ends everything that runs on the nodes, without a word, and takes
// their links away. What a node has on its disk stays; what it had in /run does
// not survive the next start.
func (l *Lab) powerOff(nodes []*Node) (Heal, error) {
	var ids []int
	for _, n := range nodes {
		ids = append(ids, n.ID)
	}
	cables := l.plan.cablesOf(ids, 0)
	if err := each(nodes, (*Node).killAll); err != nil {
		return nil, err
	}
	var errs []error
	for _, c := range cables {
		errs = append(errs, l.network[c.a.part].removeLink(c.a.link))
	}
	errs = append(errs, each(nodes, (*Node).awaitGone))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		for _, c := range cables {
			if err := l.network.plug(c); err != nil {
				return err
			}
			if err := l.restore(c); err != nil {
				return err
			}
		}
		return each(nodes, func(n *Node) error { return n.powerOn(ctx) })
	}, nil
}

// killAll kills all processes of the node at once. They are stopped first, so
// that none has time to tell of another's end.
func (n *Node) killAll() error {
	pids, err := processesIn(network{n.Name: n.NS})
	if err != nil {
		return err
	}
	return errors.Join(signalUnlessGone(pids, unix.SIGSTOP), signalUnlessGone(pids, unix.SIGKILL))
}

// awaitGone waits until killed processes are gone, also those that they
// started in their last moment.
func (n *Node) awaitGone() error {
	for {
		pids, err := processesIn(network{n.Name: n.NS})
		if err != nil || len(pids) == 0 {
			return err
		}
		if err := signalUnlessGone(pids, unix.SIGKILL); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// powerOn starts the node's agent, if it had one, on a host that has forgotten
// all that is not on its disk.
func (n *Node) powerOn(ctx context.Context) error {
	if n.PID() == 0 {
		return nil
	}
	if err := n.Down(ctx); err != nil {
		return err
	}
	return n.Start(ctx)
}
