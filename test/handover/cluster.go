package handover

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/lab"
	"github.com/shoal-net/shoal/test/nginx"
)

// A Cluster is what its clients use while it changes.
type Cluster interface {
	Lab() *lab.Lab
	// Change drains a node, ends that, or weighs it, and returns when that is
	// in force.
	Change(ctx context.Context, c Change) error
	// Emptied waits until a drained node has no connections left.
	Emptied(ctx context.Context, node int) error
	// Restart stops an empty node in order, and starts it again after a while.
	Restart(ctx context.Context, node int) error
	Close() error
}

// How long things may take.
const (
	emptyTime = 2 * time.Minute // until a node has no connections left, once its clients end them
	downTime  = time.Second     // for which a node is stopped
)

// served is a lab with nginx on each node, or behind them.
type served struct {
	*lab.Lab
	dir     string
	servers []*nginx.Server
}

// serve starts nginx: on all nodes of a lab, or on the server behind gateways.
// The lab is closed with it, and where this fails.
func serve(ctx context.Context, l *lab.Lab) (s *served, err error) {
	s = &served{Lab: l}
	if s.dir, err = os.MkdirTemp("", "shoal-nginx-"); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if l.Server != nil {
		err = s.start(ctx, l.Server, l.Targets()[0], "server")
	} else {
		for _, n := range l.Nodes {
			err = errors.Join(err, s.start(ctx, n.NS, n.Addresses()[0], n.Name))
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *served) start(ctx context.Context, ns *lab.Namespace, at netip.Addr, name string) error {
	dir := filepath.Join(s.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	server, err := nginx.Start(ctx, ns, at, name, dir)
	if err == nil {
		s.servers = append(s.servers, server)
	}
	return err
}

// Close ends the servers and the lab. What a server has complained about is an
// error.
func (s *served) Close() error {
	var errs []error
	for _, server := range s.servers {
		server.Close()
		if log := server.Log(); log != "" {
			errs = append(errs, fmt.Errorf("nginx says: %s", log))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir), s.Lab.Close())...)
}

// shoal is a cluster of agents.
type shoal struct {
	*served
	binary string
}

// firewall is what administrators have on gateways. It drops what no connection
// is known for here.
const firewall = `table inet firewall {
	chain forward {
		type filter hook forward priority filter;
		ct state established,related accept
		ct state invalid drop
		meta l4proto tcp ct state new accept
		meta l4proto tcp drop
	}
}`

// NewGateways builds a lab of gateways with a firewall, which keep flows by
// connection tracking, and of nginx behind them.
func NewGateways(ctx context.Context, o lab.Options) (Cluster, error) {
	return gateways(ctx, o, NewShoal)
}

// gateways builds a lab of gateways that keep flows.
func gateways(ctx context.Context, o lab.Options, build func(context.Context, lab.Options) (Cluster, error)) (Cluster, error) {
	o.Mode = cluster.Gateway
	file := o.NodeConfig
	var err error
	o.NodeConfig = func(node int, text string) string {
		err = errors.Join(err, protect(ctx, fmt.Sprintf("shoal-%s-node%d", o.Name, node))) // before the agent starts, which asks for it
		if file != nil {
			text = file(node, text)
		}
		return text + "flows: conntrack\n"
	}
	c, failed := build(ctx, o)
	if err = errors.Join(err, failed); err != nil {
		if c != nil {
			err = errors.Join(err, c.Close())
		}
		return nil, err
	}
	return c, nil
}

// protect loads the firewall. Connections are not to be taken over in their
// middle.
func protect(ctx context.Context, namespace string) error {
	ns, err := lab.OpenNamespace(namespace)
	if err != nil {
		return err
	}
	if _, err := ns.Run(ctx, "nft", firewall); err != nil {
		return err
	}
	return ns.Sysctl("netfilter/nf_conntrack_tcp_loose", "0")
}

// NewShoal builds a lab of agents and of nginx on each node.
func NewShoal(ctx context.Context, o lab.Options) (Cluster, error) {
	o.NoServices = true
	l, err := lab.New(ctx, o)
	if err != nil {
		return nil, err
	}
	s, err := serve(ctx, l)
	if err != nil {
		return nil, err
	}
	return &shoal{s, o.Binary}, nil
}

// NewUDP builds a lab of agents that hand UDP over as the configuration has it
// (udp: keep or move), and of the lab's services on each node.
func NewUDP(udp string) func(context.Context, lab.Options) (Cluster, error) {
	return func(ctx context.Context, o lab.Options) (Cluster, error) {
		file := o.NodeConfig
		o.NodeConfig = func(node int, text string) string {
			if file != nil {
				text = file(node, text)
			}
			return text + "udp: " + udp + "\n"
		}
		return withServices(ctx, o)
	}
}

// NewUDPGateways builds a lab as NewGateways does, with the lab's services behind
// the gateways.
func NewUDPGateways(ctx context.Context, o lab.Options) (Cluster, error) {
	return gateways(ctx, o, withServices)
}

func withServices(ctx context.Context, o lab.Options) (Cluster, error) {
	l, err := lab.New(ctx, o)
	if err != nil {
		return nil, err
	}
	return &shoal{&served{Lab: l}, o.Binary}, nil
}

func (s *shoal) Lab() *lab.Lab { return s.served.Lab }

// order runs a command on a node.
func (s *shoal) order(ctx context.Context, on int, args ...string) error {
	n := s.Nodes[on-1]
	if _, err := n.NS.Run(ctx, s.binary, append(args, "--instance", n.Instance)...); err != nil {
		return fmt.Errorf("on %s: %w", n.Name, err)
	}
	return nil
}

func (s *shoal) Change(ctx context.Context, c Change) error {
	node := strconv.Itoa(c.Node)
	switch c.Kind {
	case Undrain:
		return s.order(ctx, c.On, "undrain", node)
	case Weigh:
		return s.order(ctx, c.On, "weight", node, strconv.Itoa(c.Weight))
	default:
		return s.order(ctx, c.On, "drain", node, "--no-wait")
	}
}

func (s *shoal) Emptied(ctx context.Context, node int) error {
	return s.order(ctx, node, "drain", strconv.Itoa(node), "--timeout", emptyTime.String())
}

func (s *shoal) Restart(ctx context.Context, node int) error {
	n := s.Nodes[node-1]
	if err := n.Stop(ctx); err != nil {
		return err
	}
	if !wait(ctx, downTime) {
		return ctx.Err()
	}
	return n.Start(ctx)
}
