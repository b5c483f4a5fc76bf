package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/shoal-net/shoal/internal/cluster"
)

// timing reads the lease and the heartbeat interval, which go together.
func (b *builder) timing(lease, heartbeat value) {
	b.c.Lease = cluster.DefaultLease
	leaseKnown := b.duration(lease, cluster.MinLease, cluster.MaxLease, &b.c.Lease)
	// Where a short lease leaves no room for the usual interval, the default
	// still lets several heartbeats be lost.
	interval := &b.c.Membership.Heartbeat
	*interval = min(cluster.MaxHeartbeat, b.c.Lease/5)
	if b.duration(heartbeat, cluster.MinHeartbeat, cluster.MaxLease/cluster.LeasePerBeat, interval) && leaseKnown &&
		*interval > b.c.Lease/cluster.LeasePerBeat {
		b.fail(heartbeat, "%s is more than a third of the lease, which is %s: two lost heartbeats would end it", *interval, b.c.Lease)
	}
}

// duration reads a duration into dst, which stays as it is if the key is not
// there. It reports whether dst can be relied upon.
func (b *builder) duration(v value, least, most time.Duration, dst *time.Duration) bool {
	if !v.given() {
		return true
	}
	text, ok := b.text(v)
	if !ok {
		return false
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		b.reject(v, "is not a duration such as 100ms")
	case d < least || d > most:
		b.reject(v, "is out of range")
	default:
		*dst = d
		return true
	}
	return false
}

// membership reads what only nodes that know each other need.
func (b *builder) membership(m map[string]value) {
	ms := &b.c.Membership
	if v := m["partition"]; b.word(v, &ms.Partition) && v.given() && ms.Partition == cluster.PartitionDefault {
		b.reject(v, "is not a way to go on")
	}
	if text, ok := b.text(m["witness"]); ok {
		addr, why := parseAddress(text)
		if why != "" {
			b.reject(m["witness"], why)
		} else if b.claims[addr] != nil {
			b.fail(m["witness"], "%q is %s: a witness is a host outside the cluster", text, b.claims[addr][0].at.path)
		}
		ms.Witness = addr
	}
	b.dedicated(m["heartbeat-interfaces"])
	b.secrets(m["key"], m["key-file"])
}

// dedicated reads the links that carry heartbeats and nothing else.
func (b *builder) dedicated(v value) {
	names := map[string]value{}
	for _, element := range b.list(v, "the name of a network interface", 1, cluster.MaxInterfaces-1) {
		name, ok := b.text(element)
		if !ok {
			continue
		}
		clusterLink := slices.ContainsFunc(b.c.Interfaces, func(i cluster.Interface) bool { return i.Name == name })
		switch {
		case !validInterfaceName(name):
			b.reject(element, "cannot be an interface's name")
		case clusterLink:
			b.fail(element, "%q is one of the cluster's interfaces: heartbeats travel there already", name)
		}
		b.unique(names, name, element)
		b.c.Membership.Interfaces = append(b.c.Membership.Interfaces, name)
	}
	if all := len(b.c.Interfaces) + len(b.c.Membership.Interfaces); v.given() && all > cluster.MaxInterfaces {
		b.fail(v, "%d interfaces together with those under interfaces; at most %d are allowed", all, cluster.MaxInterfaces)
	}
}

// servers checks that some node may serve.
func (b *builder) servers(nodes value) {
	serves := func(n cluster.Node) bool { return !n.VoterOnly && n.Weight > 0 }
	if !slices.ContainsFunc(b.c.Nodes, serves) {
		b.fail(nodes, "none of the nodes serves: all have serve: false or weight: 0")
	}
}

// static reports keys that say nothing where the table is static.
func (b *builder) static(m map[string]value, places map[int]nodePlace) {
	const why = "is for nodes that know each other: give every node addresses, and none buckets"
	for _, name := range []string{"heartbeat", "heartbeat-interfaces", "partition", "witness", "key", "key-file",
		"udp", "flows", "drain", "health", "all-unhealthy"} {
		if m[name].given() {
			b.fail(m[name], "%s %s", name, why)
		}
	}
	for _, n := range b.c.Nodes {
		for name, v := range map[string]value{"serve": places[n.ID].serve, "weight": places[n.ID].weight} {
			if v.given() {
				b.fail(v, "%s %s", name, why)
			}
		}
	}
}

// keyRules say how keys are read, which is outside the text of the file.
type keyRules struct {
	open    func(path string) ([]string, error) // nil: key files are not read
	exposed bool                                // everybody can read the file itself
}

// secrets reads the keys of the messages. Errors end up in logs, so that they
// do not show the line.
func (b *builder) secrets(key, file value) {
	before := len(b.errs)
	defer func() {
		for _, e := range b.errs[before:] {
			e.source = ""
		}
	}()
	switch {
	case key.given() && file.given():
		b.fail(file, "the key is given already, in line %d; give one of the two", key.token().Position.Line)
	case key.given() && b.keys.exposed:
		b.failSecret(key, "everybody on this host can read the key: take that right away with chmod o= %s, or use key-file", b.file)
	case key.given():
		b.keyTexts(key)
	case file.given():
		b.keyFile(file)
	}
}

func (b *builder) keyTexts(v value) {
	elements := []value{v}
	if _, isList := v.node.(*ast.SequenceNode); isList {
		elements = b.list(v, takesKey, 1, cluster.MaxKeys)
	}
	for _, element := range elements {
		s, ok := element.node.(*ast.StringNode)
		if !ok {
			b.failSecret(element, "not text, or not quoted; it takes %s", takesKey)
			continue
		}
		if why := checkKey(s.Value, b.c.Membership.Keys); why != "" {
			b.failSecret(element, "%s; it takes %s", why, takesKey)
		}
		b.c.Membership.Keys = append(b.c.Membership.Keys, s.Value)
	}
}

// failSecret reports that something is wrong at a value without showing it.
func (b *builder) failSecret(at value, format string, args ...any) {
	b.failAt(at.token(), at.path, "", fmt.Sprintf(format, args...))
}

func (b *builder) keyFile(v value) {
	path, ok := b.text(v)
	if !ok {
		return
	}
	if !filepath.IsAbs(path) {
		b.reject(v, "is not an absolute path")
		return
	}
	if b.keys.open == nil {
		return
	}
	keys, err := b.keys.open(path)
	if err != nil {
		b.fail(v, "%v", err)
	}
	b.c.Membership.Keys = keys
}

// checkKey says what is wrong with a key, given those before it.
func checkKey(key string, others []string) string {
	switch {
	case len(key) < 16:
		return fmt.Sprintf("a key of %d characters is too short: `openssl rand -base64 32` makes a good one", len(key))
	case len(key) > 256:
		return fmt.Sprintf("a key of %d characters is too long", len(key))
	case strings.TrimSpace(key) != key:
		return "a key with spaces at its ends"
	case slices.Contains(others, key):
		return "the same key twice"
	}
	return ""
}

// exposed reports whether everybody on the host can read a file.
func exposed(info fs.FileInfo) bool { return info.Mode().Perm()&0o004 != 0 }

// readKeyFile reads a key file: a key per line; empty lines and lines that
// begin with # are no keys.
func readKeyFile(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case exposed(info):
		return nil, fmt.Errorf("everybody on this host can read the key: take that right away with chmod o= %s", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSize))
	if err != nil {
		return nil, err
	}
	return parseKeys(string(data))
}

func parseKeys(text string) ([]string, error) {
	var keys []string
	n := 0
	for line := range strings.Lines(text) {
		n++
		key := strings.TrimSpace(line)
		if key == "" || key[0] == '#' {
			continue
		}
		if why := checkKey(key, keys); why != "" {
			return nil, fmt.Errorf("line %d: %s", n, why)
		}
		keys = append(keys, key)
	}
	if len(keys) < 1 || len(keys) > cluster.MaxKeys {
		return nil, fmt.Errorf("%d keys; it takes the one to use, and a second one that is accepted, too, one per line", len(keys))
	}
	return keys, nil
}
