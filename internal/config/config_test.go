package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/shoal-net/shoal/internal/cluster"
)

var equalAddr = cmpopts.EquateComparable(netip.Addr{})

func addrs(texts ...string) []netip.Addr {
	all := make([]netip.Addr, len(texts))
	for i, s := range texts {
		all[i] = netip.MustParseAddr(s)
	}
	return all
}

const minimal = `cluster: web
mode: backend
interfaces:
  - name: eth1
    addresses: [192.0.2.10]
nodes:
  - id: 1
`

func TestDefaults(t *testing.T) {
	got, err := Parse("f", []byte(minimal), Options{Node: "1"})
	if err != nil {
		t.Fatal(err)
	}
	want := &cluster.Cluster{
		Name:  "web",
		Mode:  cluster.Backend,
		Self:  1,
		Nodes: []cluster.Node{{ID: 1, Name: "node1", Weight: 100}},
		Interfaces: []cluster.Interface{{
			Name: "eth1", Side: cluster.ClientSide, Addresses: addrs("192.0.2.10"),
			L2: cluster.Unicast, MAC: cluster.MAC{0x02, 0xbf, 192, 0, 2, 10}, Attach: cluster.AttachAuto,
		}},
		Hash:       cluster.Hash{Buckets: 4096, Affinity: cluster.ByClient, Key: cluster.KeySide},
		Lease:      100 * time.Millisecond,
		Membership: cluster.Membership{Heartbeat: 20 * time.Millisecond},
		Handover:   cluster.Handover{Drain: time.Hour},
	}
	if diff := cmp.Diff(want, got, equalAddr); diff != "" {
		t.Error(diff)
	}
}

func TestEveryKey(t *testing.T) {
	const text = `---
cluster: gw-1
mode: gateway
node: beta
interfaces:
- {name: eth1, side: client, addresses: ["2001:db8::10", 192.0.2.10, "fe80::1"], l2: igmp, attach: tcx}
- {name: eth2, side: server, addresses: [fe80::1], l2: multicast, mac: 01-00-5E-00-01-02}
nodes:
- {id: 0x2, name: beta, addresses: [198.51.100.2, "fe80::2"], buckets: 7}
- {id: 1, name: alpha.example.com, buckets: [0-3, "5", 6]}
- {id: 64, buckets: []}
- {id: 5}
hash: {seed: 0xDEADBEEF, buckets: 10, affinity: network, ipv6: first-word, key: original}
action: {mark: 0xff00/0x0f00, foreign-mark: 1}
lease: 1.5s
`
	got, err := Parse("f", []byte(text), Options{Hostname: "alpha"})
	if err != nil {
		t.Fatal(err)
	}
	want := &cluster.Cluster{
		Name: "gw-1",
		Mode: cluster.Gateway,
		Self: 2,
		Nodes: []cluster.Node{
			{ID: 2, Name: "beta", Weight: 100, Addresses: addrs("198.51.100.2", "fe80::2"), Buckets: []cluster.Range{{First: 7, Last: 7}}},
			{ID: 1, Name: "alpha.example.com", Weight: 100, Buckets: []cluster.Range{{First: 0, Last: 3}, {First: 5, Last: 5}, {First: 6, Last: 6}}},
			{ID: 64, Name: "node64", Weight: 100, Buckets: []cluster.Range{}},
			{ID: 5, Name: "node5", Weight: 100},
		},
		Interfaces: []cluster.Interface{
			{Name: "eth1", Side: cluster.ClientSide, Addresses: addrs("2001:db8::10", "192.0.2.10", "fe80::1"),
				L2: cluster.IGMP, MAC: cluster.MAC{0x01, 0x00, 0x5e, 0x7f, 2, 10}, Attach: cluster.AttachTCX},
			{Name: "eth2", Side: cluster.ServerSide, Addresses: addrs("fe80::1"),
				L2: cluster.Multicast, MAC: cluster.MAC{0x01, 0x00, 0x5e, 0x00, 0x01, 0x02}},
		},
		Hash: cluster.Hash{Seed: 0xdeadbeef, Buckets: 10, Affinity: cluster.ByNetwork, Key: cluster.KeyOriginal, IPv6FirstWord: true},
		Action: cluster.Action{Marking: true,
			Mark:        cluster.Mark{Value: 0xff00, Mask: 0xff00},
			ForeignMark: cluster.Mark{Value: 1, Mask: 0xffffffff}},
		Lease:      1500 * time.Millisecond,
		Membership: cluster.Membership{Heartbeat: 20 * time.Millisecond},
		Handover:   cluster.Handover{Drain: time.Hour},
	}
	if diff := cmp.Diff(want, got, equalAddr); diff != "" {
		t.Error(diff)
	}
}

// TestForms checks that different ways to write a file mean the same.
func TestForms(t *testing.T) {
	want, err := Parse("f", []byte(minimal), Options{Node: "1"})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"CRLF":            "cluster: web\r\nmode: backend\r\ninterfaces:\r\n  - name: eth1\r\n    addresses: [192.0.2.10]\r\nnodes:\r\n  - id: 1\r\n",
		"flow":            `{cluster: web, mode: backend, interfaces: [{name: eth1, addresses: [192.0.2.10]}], nodes: [{id: 1}]}`,
		"quoted":          `{"cluster": "web", 'mode': 'backend', interfaces: [{name: "eth1", addresses: ["192.0.2.10"]}], nodes: [{id: 1}]}`,
		"byte order mark": "\ufeff" + minimal,
		"end of document": "---\n" + minimal + "...\n",
		"other order":     "nodes: [{id: 1}]\ninterfaces: [{addresses: [192.0.2.10], name: eth1}]\nmode: backend\ncluster: web\n",
		"defaults said": minimal + "hash: {seed: 0, buckets: 4096, affinity: client, ipv6: full, key: side}\n" +
			"action: drop\nlease: 100ms\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse("f", []byte(text), Options{Node: "1"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, equalAddr); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestThisNode(t *testing.T) {
	const nodes = `
  - {id: 1, name: alpha}
  - {id: 2, name: beta.example.com}
  - {id: 3}
`
	file := func(key string) string {
		return key + "cluster: web\nmode: backend\ninterfaces: [{name: eth1, addresses: [192.0.2.10]}]\nnodes:" + nodes
	}
	for _, tt := range []struct {
		key  string
		opts Options
		want int // 0: an error
	}{
		{"", Options{Node: "1"}, 1},
		{"", Options{Node: "alpha"}, 1},
		{"", Options{Node: "node3"}, 3},
		{"node: 2\n", Options{}, 2},
		{"node: alpha\n", Options{}, 1},
		{"node: 2\n", Options{Node: "alpha", Hostname: "node3"}, 1},
		{"node: 2\n", Options{Hostname: "alpha"}, 2},
		{"", Options{Hostname: "alpha"}, 1},
		{"", Options{Hostname: "ALPHA.example.com"}, 1},
		{"", Options{Hostname: "beta.example.com"}, 2},
		{"", Options{Hostname: "beta"}, 0},
		{"", Options{Hostname: "delta"}, 0},
		{"", Options{}, 0},
		{"", Options{Node: "4"}, 0},
		{"", Options{Node: "delta", Hostname: "alpha"}, 0},
		{"node: 4\n", Options{Hostname: "alpha"}, 0},
		{"node: 4\n", Options{Node: "1"}, 0},
		{"node: [1]\n", Options{Node: "1"}, 0},
	} {
		c, err := Parse("f", []byte(file(tt.key)), tt.opts)
		if err == nil && c.Self != tt.want || err != nil && tt.want != 0 {
			t.Errorf("%q, %+v: got %v, %v, want node %d", tt.key, tt.opts, c, err, tt.want)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.yaml")
	if _, err := Load(path, Options{Node: "1"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: got %v, want %v", err, fs.ErrNotExist)
	}
	if err := os.WriteFile(path, []byte(minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path, Options{Node: "1"})
	if err != nil || c.Name != "web" {
		t.Errorf("got %v, %v", c, err)
	}
	if err := os.Truncate(path, MaxSize+1); err != nil {
		t.Fatal(err)
	}
	var fault *Error
	if _, err := Load(path, Options{Node: "1"}); !errors.As(err, &fault) || fault.File != path {
		t.Errorf("long file: got %v", err)
	}
}
