package config

import (
	"net/netip"
	"regexp"
	"strings"

	"github.com/shoal-net/shoal/internal/cluster"
)

// builder fills in a cluster from the values of the file.
type builder struct {
	*reader
	c      cluster.Cluster
	claims map[netip.Addr][]claim
	keys   *keyRules
}

var clusterName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,14}$`)

func (b *builder) cluster(root value, opts Options) {
	m := b.mapping(root, clusterKeys)
	if m == nil {
		return
	}
	if name, ok := b.text(m["cluster"]); ok {
		b.c.Name = name
		if !clusterName.MatchString(name) {
			b.reject(m["cluster"], "cannot be a cluster's name")
		}
	}
	modeKnown := b.word(m["mode"], &b.c.Mode) && m["mode"].given()
	b.timing(m["lease"], m["heartbeat"])

	b.action(m["action"])
	b.interfaces(m["interfaces"], modeKnown)

	// Shares can be judged only if buckets and nodes are right.
	before := len(b.errs)
	b.hash(m["hash"], modeKnown)
	places := b.nodes(m["nodes"])
	nodesKnown := m["nodes"].given() && len(b.errs) == before
	b.membership(m)
	b.handover(m, modeKnown)
	b.health(m["health"], m["all-unhealthy"])
	if nodesKnown {
		if b.c.HasMembership() {
			b.servers(m["nodes"])
		} else {
			b.static(m, places)
			b.shares(m["nodes"], places)
		}
		b.findSelf(m["node"], m["nodes"], opts)
	}
}

func (b *builder) hash(v value, modeKnown bool) {
	h := &b.c.Hash
	h.Buckets = cluster.DefaultBuckets
	if !v.given() {
		return
	}
	m := b.mapping(v, hashKeys)
	number(b.reader, m["seed"], 0, 0xffffffff, &h.Seed)
	number(b.reader, m["buckets"], 1, cluster.MaxBuckets, &h.Buckets)
	b.word(m["affinity"], &h.Affinity)
	b.word(m["key"], &h.Key)
	if text, ok := b.text(m["ipv6"]); ok {
		h.IPv6FirstWord = text == "first-word"
		if !h.IPv6FirstWord && text != "full" {
			b.reject(m["ipv6"], "is not a way to hash")
		}
	}
	// Both words are for clusters in which some nodes run xt_cluster, which
	// hashes one address and knows no ports.
	if h.Key == cluster.KeyOriginal && modeKnown && b.c.Mode != cluster.Gateway {
		b.fail(m["key"], `"original" is for mode: gateway; a backend's client is the source of every packet already`)
	}
	if h.Key == cluster.KeyOriginal && h.Affinity == cluster.ByFlow {
		b.fail(m["key"], `"original" is an address and agrees with affinity: client or network, not with flow`)
	}
	if h.IPv6FirstWord && h.Affinity == cluster.ByFlow {
		b.fail(m["ipv6"], `"first-word" is part of an address and agrees with affinity: client or network, not with flow`)
	}
}

func (b *builder) action(v value) {
	if text, ok := v.scalar(); ok && text == "drop" || !v.given() {
		return
	} else if ok {
		b.reject(v, "is no action")
		return
	}
	m := b.mapping(v, actionKeys)
	a := &b.c.Action
	a.Marking = true
	a.Mark = b.mark(m["mark"])
	a.ForeignMark = b.mark(m["foreign-mark"])
	if foreign := m["foreign-mark"]; foreign.given() && a.Mark == a.ForeignMark {
		b.reject(foreign, "is the mark of owned packets too: no rule could tell them apart")
	}
}

func (b *builder) mark(v value) cluster.Mark {
	if !v.given() {
		return cluster.Mark{}
	}
	text, ok := v.scalar()
	if !ok {
		b.reject(v, kind(v.node))
		return cluster.Mark{}
	}
	mark, err := parseMark(text)
	if err != nil {
		b.reject(v, "is not a mark")
	}
	return mark
}

// parseMark reads a mark as the MARK target's --set-mark does: the bits of the
// mask are cleared, those of the value are set. A value sets its bits whether
// or not the mask clears them before, so they are part of the mask here.
func parseMark(text string) (cluster.Mark, error) {
	valueText, maskText, masked := strings.Cut(text, "/")
	bits, err := parseNumber(valueText)
	mask := uint32(0xffffffff)
	if masked && err == nil {
		mask, err = parseNumber(maskText)
	}
	return cluster.Mark{Value: bits, Mask: mask | bits}, err
}
