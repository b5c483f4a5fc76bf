package handover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/lab"
	"github.com/shoal-net/shoal/internal/share"
)

// recipe is a cluster by the manual page of the cluster match: marks, group
// MACs, and ARP rewritten. Shares are what a node has of recipeSlices. IPv4 only,
// as the page is.
type recipe struct {
	*served
	mu      sync.Mutex
	weight  [cluster.MaxNodes + 1]uint16 // by id
	drained [cluster.MaxNodes + 1]bool
	owners  []uint8 // of each slice
}

const (
	recipeSlices = 30 // --cluster-total-nodes: at most 32, and three even shares
	recipeMAC    = "01:00:5e:00:01:01"
)

// NewRecipe builds a lab of nodes by the manual page, and of nginx on each.
func NewRecipe(ctx context.Context, o lab.Options) (Cluster, error) {
	o.NoAgents, o.NoServices, o.Families = true, true, lab.IPv4
	l, err := lab.New(ctx, o)
	if err != nil {
		return nil, err
	}
	s, err := serve(ctx, l)
	if err != nil {
		return nil, err
	}
	r := &recipe{served: s, owners: make([]uint8, recipeSlices)}
	for _, n := range l.Nodes {
		r.weight[n.ID] = cluster.DefaultWeight
	}
	r.owners = r.next()
	for _, n := range l.Nodes {
		if err := r.setUp(ctx, n); err != nil {
			return nil, errors.Join(fmt.Errorf("set %s up: %w", n.Name, err), s.Close())
		}
	}
	return r, nil
}

// setUp gives a node what does not change, and its first rules.
func (r *recipe) setUp(ctx context.Context, n *lab.Node) error {
	link, err := n.NS.Netlink().LinkByName("eth1")
	if err != nil {
		return err
	}
	for _, line := range []string{
		"ip maddr add " + recipeMAC + " dev eth1",
		"arptables -A OUTPUT -o eth1 --h-length 6 -j mangle --mangle-mac-s " + recipeMAC,
		"arptables -A INPUT -i eth1 --h-length 6 --destination-mac " + recipeMAC + " -j mangle --mangle-mac-d " + link.Attrs().HardwareAddr.String(),
		"ip address add " + r.ClusterAddresses()[0].String() + "/32 dev eth1",
	} {
		words := strings.Fields(line)
		if _, err := n.NS.Run(ctx, words[0], words[1:]...); err != nil {
			return err
		}
	}
	if err := r.load(ctx, n); err != nil {
		return err
	}
	return n.NS.Sysctl("netfilter/nf_conntrack_tcp_loose", "0")
}

// load gives a node the rules for its slices, all at once. A rule for each
// stands for the page's mask, of which iptables 1.8.9 takes no bits beyond the
// fifth node's.
func (r *recipe) load(ctx context.Context, n *lab.Node) error {
	var b strings.Builder
	b.WriteString("*mangle\n-F PREROUTING\n")
	for slice, owner := range r.owners {
		if int(owner) == n.ID {
			fmt.Fprintf(&b, "-A PREROUTING -i eth1 -m cluster --cluster-total-nodes %d --cluster-local-node %d --cluster-hash-seed 0xdeadbeef -j MARK --set-mark 0xffff\n",
				recipeSlices, slice+1)
		}
	}
	b.WriteString("-A PREROUTING -i eth1 -m mark ! --mark 0xffff -j DROP\nCOMMIT\n")
	file := filepath.Join(r.dir, n.Name+".rules")
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		return err
	}
	_, err := n.NS.Run(ctx, "iptables-restore", "--noflush", file)
	return err
}

// next are the owners of the slices after a change, by the same arithmetic that
// shoal uses: the fewest moves.
func (r *recipe) next() []uint8 {
	weights := r.weight
	for id := range weights {
		if r.drained[id] {
			weights[id] = 0
		}
	}
	return share.Next(r.owners, &weights)
}

func (r *recipe) Lab() *lab.Lab { return r.served.Lab }

func (r *recipe) Change(ctx context.Context, c Change) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch c.Kind {
	case Weigh:
		r.weight[c.Node] = uint16(c.Weight)
	case Undrain:
		r.drained[c.Node] = false
	default:
		r.drained[c.Node] = true
	}
	before := r.owners
	r.owners = r.next()
	// Who loses goes first: two nodes must not take the same packets.
	nodes := slices.Clone(r.Nodes)
	slices.SortStableFunc(nodes, func(a, b *lab.Node) int { return r.gain(before, a.ID) - r.gain(before, b.ID) })
	for _, n := range nodes {
		if err := r.load(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// gain is how many slices more a node has than before.
func (r *recipe) gain(before []uint8, node int) int {
	return share.Count(r.owners)[node] - share.Count(before)[node]
}

// Emptied does not wait: by the masks a drained node has no connections.
func (r *recipe) Emptied(context.Context, int) error { return nil }

// Restart leaves the node out for as long as a restart takes: nothing runs there
// that has to be stopped.
func (r *recipe) Restart(ctx context.Context, _ int) error {
	if !wait(ctx, downTime) {
		return ctx.Err()
	}
	return nil
}
