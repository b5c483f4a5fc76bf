package config

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/share"
)

var (
	nodeName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)
	digits   = regexp.MustCompile(`^[0-9]+$`) // would be mistaken for an id
)

// nodePlace is where a node is described, and some of its keys.
type nodePlace struct{ node, buckets, serve, weight value }

// nodes reads the nodes and returns where they are described, by id.
func (b *builder) nodes(v value) map[int]nodePlace {
	ids, names, places := map[string]value{}, map[string]value{}, map[int]nodePlace{}
	addresses := 0
	for _, element := range b.list(v, mapOf(nodeKeys), 1, cluster.MaxNodes) {
		m := b.mapping(element, nodeKeys)
		n := cluster.Node{Weight: cluster.DefaultWeight}
		if number(b.reader, m["id"], 1, cluster.MaxNodes, &n.ID) && m["id"].given() &&
			!b.unique(ids, strconv.Itoa(n.ID), m["id"]) {
			n.ID = 0
		}
		b.name(element, m["name"], &n, names)
		n.Addresses = b.addresses(m["addresses"], "", 0, cluster.MaxPeerAddress)
		n.Buckets = b.buckets(m["buckets"])
		serves := true
		b.truth(m["serve"], &serves)
		n.VoterOnly = !serves
		number(b.reader, m["weight"], 0, cluster.MaxWeight, &n.Weight)
		places[n.ID] = nodePlace{element, m["buckets"], m["serve"], m["weight"]}
		addresses += len(n.Addresses)
		b.c.Nodes = append(b.c.Nodes, n)
	}
	if addresses > cluster.MaxPeerAddress {
		b.fail(v, "%d own addresses of nodes; at most %d are allowed", addresses, cluster.MaxPeerAddress)
	}
	return places
}

func (b *builder) name(node, v value, n *cluster.Node, names map[string]value) {
	if !v.given() {
		if n.ID != 0 {
			n.Name = fmt.Sprintf("node%d", n.ID)
			b.unique(names, n.Name, node)
		}
		return
	}
	name, ok := b.text(v)
	if !ok {
		return
	}
	n.Name = name
	if !nodeName.MatchString(name) || digits.MatchString(name) {
		b.reject(v, "cannot be a node's name")
	}
	b.unique(names, name, v)
}

// buckets reads a node's list. nil means that there is none; an empty list is
// not nil.
func (b *builder) buckets(v value) []cluster.Range {
	if !v.given() {
		return nil
	}
	return b.rangeList(v, rangeRule{"buckets", 0, b.c.Hash.Buckets - 1,
		fmt.Sprintf("with hash.buckets: %d the buckets are 0-%d", b.c.Hash.Buckets, b.c.Hash.Buckets-1)})
}

// shares checks that every bucket has one owner, and every node that lists no
// buckets has some.
func (b *builder) shares(nodes value, places map[int]nodePlace) {
	owners, err := share.Static(b.c.Nodes, b.c.Hash.Buckets)
	var fault *share.Error
	switch {
	case errors.As(err, &fault) && places[fault.Node].buckets.given():
		b.fail(places[fault.Node].buckets, "%s", fault.Reason)
		return
	case err != nil:
		b.fail(nodes, "%v", err)
		return
	}
	count := share.Count(owners)
	for _, n := range b.c.Nodes {
		if n.Buckets == nil && count[n.ID] == 0 {
			b.fail(places[n.ID].node, "no bucket of %d is left for node %d; buckets: [] says that it is to have none",
				b.c.Hash.Buckets, n.ID)
		}
	}
}

// findSelf finds which of the nodes this one is: by option, key, host name.
func (b *builder) findSelf(key, nodes value, opts Options) {
	known := make([]string, len(b.c.Nodes))
	for i, n := range b.c.Nodes {
		known[i] = fmt.Sprintf("%d %s", n.ID, n.Name)
	}
	list := strings.Join(known, ", ")
	if key.given() {
		text, ok := key.scalar()
		if !ok {
			b.reject(key, kind(key.node))
		} else if b.c.Self = b.findNode(text); b.c.Self == 0 {
			b.fail(key, "%q is none of the nodes: %s", text, list)
		}
	}
	if opts.Node != "" {
		if b.c.Self = b.findNode(opts.Node); b.c.Self == 0 {
			b.failAt(nil, "", opts.Node, fmt.Sprintf("--node: %q is none of the nodes: %s", opts.Node, list))
		}
		return
	}
	if key.given() {
		return
	}
	short, _, _ := strings.Cut(opts.Hostname, ".")
	for _, n := range b.c.Nodes {
		if strings.EqualFold(n.Name, opts.Hostname) || strings.EqualFold(n.Name, short) {
			b.c.Self = n.ID
			return
		}
	}
	b.fail(nodes, "none of the nodes has this host's name, %q: %s; name this node with --node or the key node", opts.Hostname, list)
}

// findNode returns the id of the node with the given id or name, or 0.
func (b *builder) findNode(s string) int {
	for _, n := range b.c.Nodes {
		if s == strconv.Itoa(n.ID) || s == n.Name {
			return n.ID
		}
	}
	return 0
}
