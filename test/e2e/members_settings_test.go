//go:build privileged

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/shoal-net/shoal/internal/heartbeat"
	"github.com/shoal-net/shoal/internal/lab"
)

func TestMembersReload(t *testing.T) {
	l, _ := startMembers(t, lab.Options{Nodes: 3})

	// Weights: each node tells its own.
	rewrite(t, l.Nodes[0], `name: node1, `, `name: node1, weight: 200, `)
	reload(t, l.Nodes[0])
	awaitMembers(t, l.Nodes[2], "half of the buckets go to node1", func(m *heartbeat.Status) bool { return nodeOf(m, 1).Buckets == 2048 })
	rewrite(t, l.Nodes[1], `name: node2, `, `name: node2, weight: 200, `)
	must(t, l.Nodes[1].Signal(syscall.SIGHUP))
	awaitMembers(t, l.Nodes[2], "node3 has half of what the others have", func(m *heartbeat.Status) bool { return nodeOf(m, 3).Buckets == 819 })

	// What cannot change while the node runs is refused by its name.
	rewrite(t, l.Nodes[1], "seed: 0xdeadbeef", "seed: 1")
	_, err := l.Nodes[1].NS.Run(t.Context(), shoal, "reload", "lab", "--instance", l.Nodes[1].Instance)
	if err == nil || !strings.Contains(err.Error(), "hash.seed: cannot change while the node runs") {
		t.Errorf("got %v", err)
	}
	rewrite(t, l.Nodes[1], "seed: 1", "seed: 0xdeadbeef")

	// A node that the others' files do not list any more is retired.
	line := "  - {id: 3, name: node3"
	for _, n := range l.Nodes[:2] {
		text, err := os.ReadFile(n.Config)
		must(t, err)
		at := strings.Index(string(text), line)
		end := at + strings.Index(string(text)[at:], "\n") + 1
		rewrite(t, n, string(text)[at:end], "")
		reload(t, n)
	}
	awaitMembers(t, l.Nodes[0], "two voters", func(m *heartbeat.Status) bool {
		return slices.Equal(m.View.Voters, []int{1, 2}) && nodeOf(m, 1).Buckets+nodeOf(m, 2).Buckets == 4096
	})
}

// Keys change without a lost lease: all accept the new one, use it, forget the
// old one.
func TestMembersKeys(t *testing.T) {
	const first, second = "the first of two keys", "the second of two keys"
	dir := t.TempDir()
	keyFile := func(node int) string { return filepath.Join(dir, strconv.Itoa(node)) }
	write := func(node int, keys ...string) {
		must(t, os.WriteFile(keyFile(node), []byte(strings.Join(keys, "\n")), 0o600))
	}
	for node := 1; node <= 3; node++ {
		write(node, first)
	}
	l, _ := startMembers(t, lab.Options{Nodes: 3, NodeConfig: func(node int, file string) string {
		return file + "key-file: " + keyFile(node) + "\n"
	}})
	before := members(t, l.Nodes[0])
	for _, keys := range [][]string{{first, second}, {second, first}, {second}} {
		for _, n := range l.Nodes {
			write(n.ID, keys...)
			reload(t, n)
		}
	}
	for _, n := range l.Nodes {
		m := members(t, n)
		if m == nil || m.View.Epoch != before.View.Epoch || m.LeaseLeftMS <= 0 || m.Refused["wrong_key"] > 0 || warned(m, "key") {
			t.Errorf("%s: %+v", n.Name, m)
		}
	}
	// One that goes back to the old key is not heard any more, and it is said
	// who that is.
	write(3, first)
	reload(t, l.Nodes[2])
	awaitMembers(t, l.Nodes[0], "a warning of the wrong key", func(m *heartbeat.Status) bool {
		return m.Refused["wrong_key"] > 0 && warned(m, "node3 (10.77.0.3) on eth1 sends with another key")
	})
	awaitMembers(t, l.Nodes[0], "node3 is put out", func(m *heartbeat.Status) bool { return nodeOf(m, 3).Buckets == 0 })
}

// A node with other settings is not listened to, and both sides name them.
func TestMembersDiffer(t *testing.T) {
	l, _ := startMembers(t, lab.Options{Nodes: 3})
	must(t, l.Nodes[2].Stop(t.Context()))
	rewrite(t, l.Nodes[2], "hash: {seed: 0xdeadbeef", "lease: 200ms\nheartbeat: 20ms\nhash: {seed: 7")
	must(t, l.Nodes[2].Start(t.Context()))
	for _, test := range []struct {
		on, of int
		want   string
	}{
		{1, 3, "node3 has other settings, and is not listened to: `hash.seed`, `lease`"},
		{3, 1, "node1 has other settings, and is not listened to: `hash.seed`, `lease`"},
	} {
		m := awaitMembers(t, l.Nodes[test.on-1], "a warning", func(m *heartbeat.Status) bool { return warned(m, test.want) })
		if got := nodeOf(m, test.of).DiffersIn; !slices.Equal(got, []string{"hash.seed", "lease"}) {
			t.Errorf("on node%d: node%d differs in %q", test.on, test.of, got)
		}
	}
	awaitMembers(t, l.Nodes[0], "the other two share the buckets", func(m *heartbeat.Status) bool {
		return nodeOf(m, 1).Buckets == 2048 && nodeOf(m, 2).Buckets == 2048
	})
	awaitMembers(t, l.Nodes[2], "no lease", func(m *heartbeat.Status) bool { return m.LeaseLeftMS == 0 && warned(m, "no majority") })
}

// A host that takes itself for another node is not believed, and named.
func TestMembersWrongID(t *testing.T) {
	l, _ := startMembers(t, lab.Options{Nodes: 3})
	n := l.Nodes[2]
	must(t, n.Stop(t.Context()))
	rewrite(t, n, "node: 3", "node: 2")
	rewrite(t, n, `"10.77.0.2"`, `"10.77.0.9"`)
	rewrite(t, n, `"10.77.0.3"`, `"10.77.0.2"`)
	rewrite(t, n, `"10.77.0.9"`, `"10.77.0.3"`)
	must(t, n.Start(t.Context()))
	awaitMembers(t, l.Nodes[0], "a warning", func(m *heartbeat.Status) bool {
		return m.Refused["wrong_address"] > 0 && warned(m, "node3 (10.77.0.3) on eth1 sends with the id of another node")
	})
	awaitMembers(t, n, "a warning there", func(m *heartbeat.Status) bool { return m.LeaseLeftMS == 0 && len(m.Warnings) > 0 })
	awaitMembers(t, l.Nodes[0], "the rest goes on", func(m *heartbeat.Status) bool {
		return nodeOf(m, 1).Buckets == 2048 && nodeOf(m, 2).Buckets == 2048 && nodeOf(m, 2).Present
	})
}
