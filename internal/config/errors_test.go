package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// correct is a right file; the tests below put a fault into it.
const correct = `cluster: web
mode: gateway
node: 1
interfaces:
  - name: eth1
    side: client
    addresses: [192.0.2.10, "2001:db8::10"]
    l2: unicast
    mac: 02:bf:c0:00:02:0a
    attach: auto
  - {name: eth2, side: server, addresses: [198.51.100.10]}
nodes:
  - id: 1
    name: alpha
    addresses: [192.0.2.1, "fe80::1"]
    buckets: "0-2047"
  - {id: 2, name: beta}
hash:
  seed: 0xdeadbeef
  buckets: 4096
  affinity: client
  ipv6: full
  key: side
action: drop
lease: 100ms
`

// fault is what an edit of correct must be answered with.
type fault struct {
	old, new string // replaced once
	want     string // LINE:COLUMN: message up to where the test cares
}

var faults = []fault{
	// The document.
	{"cluster: web", "cluster: [web", `2:1: not YAML: `},
	{"cluster: web", "\tcluster: web", `1:8: not YAML: `},
	{"mode: gateway", "mode: 'gateway", `2:7: not YAML: `},
	{"lease: 100ms", "---\nlease: 100ms", `26:1: a second YAML document; the file takes one`},
	{"cluster: web", "%YAML 1.2\n---\ncluster: web", `1:1: a YAML directive; the file takes none`},
	{correct, "- web", `1:1: is a list; it takes a map of the keys cluster, mode, node,`},
	{correct, "web", `1:1: "web" is text; it takes a map of the keys cluster,`},

	// Keys.
	{"lease:", "leese:", `25:1: "leese" is not a key here; the keys are cluster, mode, node, interfaces, nodes, hash, action, lease, heartbeat,`},
	{"    mac:", "    MAC:", `9:5: interfaces[0]: "MAC" is not a key here; the keys are name, side, addresses, l2, mac, attach`},
	{"{id: 2,", "{id: 2, wait: 3,", `17:13: nodes[1]: "wait" is not a key here; the keys are id, name, addresses, buckets, serve, weight`},
	{"  seed:", "  sead:", `19:3: hash: "sead" is not a key here; the keys are seed, buckets, affinity, ipv6, key`},
	{"action: drop", "action: {mark: 1, make: 2}", `24:19: action: "make" is not a key here; the keys are mark, foreign-mark`},
	{"lease:", "<<:", `25:1: "<<" is not a key here`},
	{"lease:", "true:", `25:1: "true" is not a key here`},
	{"lease: 100ms", "mode: backend", `25:1: "mode" is given twice, first in line 2`},
	{"  key: side", "  seed: 1", `23:3: hash: "seed" is given twice, first in line 19`},
	{"cluster: web\n", "", `1:1: cluster is missing; it takes a name of 1 to 15 characters`},
	{"mode: gateway\n", "", `1:1: mode is missing; it takes backend or gateway`},
	{"name: eth1\n    side", "side", `5:5: interfaces[0]: name is missing; it takes the name of a network interface`},
	{"    addresses: [192.0.2.10, \"2001:db8::10\"]\n", "", `5:5: interfaces[0]: addresses is missing; it takes a list of at least one`},
	{"{id: 2, name", "{name", `17:5: nodes[1]: id is missing; it takes a number from 1 to 64`},
	{"action: drop", "action: {foreign-mark: 1}", `24:9: action: mark is missing; it takes VALUE or VALUE/MASK`},

	// Kinds of values.
	{"cluster: web", "cluster:", `1:9: cluster: has no value; it takes a name`},
	{"cluster: web", "cluster: 17", `1:10: cluster: "17" is a number (quoted, it is text); it takes a name`},
	{"cluster: web", "cluster: true", `1:10: cluster: "true" is a truth value (quoted, it is text); it takes`},
	{"cluster: web", "cluster: [web]", `1:10: cluster: is a list; it takes`},
	{"cluster: web", "cluster: {a: web}", `1:10: cluster: is a map; it takes`},
	{"cluster: web", "cluster: &x web", `1:10: cluster: is an anchor, an alias or a tag: write the value out; it takes`},
	{"cluster: web", "cluster: !!str web", `1:10: cluster: is an anchor, an alias or a tag: write the value out; it takes`},
	{"cluster: web", "cluster: |\n  web", `1:10: cluster: is something else; it takes`},
	{"buckets: 4096", `buckets: "4096"`, `20:12: hash.buckets: "4096" is text; it takes a number from 1 to 65536`},
	{"addresses: [198.51.100.10]", "addresses: 198.51.100.10", `11:43: interfaces[1].addresses: "198.51.100.10" is text; it takes a list`},
	{"  - id: 1\n", "  - eth7\n  - id: 1\n", `13:5: nodes[0]: "eth7" is text; it takes a map of the keys id, name,`},

	// Names.
	{"cluster: web", "cluster: Web", `1:10: cluster: "Web" cannot be a cluster's name; it takes`},
	{"cluster: web", "cluster: a23456789012345x", `1:10: cluster: "a23456789012345x" cannot be a cluster's name`},
	{"cluster: web", "cluster: ../web", `1:10: cluster: "../web" cannot be`},
	{"name: eth1", "name: eth/1", `5:11: interfaces[0].name: "eth/1" cannot be an interface's name`},
	{"name: eth1", "name: a234567890123456", `5:11: interfaces[0].name: "a234567890123456" cannot be`},
	{"name: eth1", "name: eth2", `11:12: interfaces[1].name: "eth2" is given twice, first as interfaces[0].name in line 5`},
	{"name: alpha", "name: beta", `17:19: nodes[1].name: "beta" is given twice, first as nodes[0].name in line 14`},
	{"{id: 2, name: beta}", "{id: 2, name: '3'}", `17:19: nodes[1].name: "3" cannot be a node's name`},
	{"name: beta}", "name: -beta}", `17:19: nodes[1].name: "-beta" cannot be a node's name`},
	{"{id: 2, name: beta}", "{id: 2, name: node3}\n  - {id: 3}", `18:5: nodes[2]: "node3" is given twice, first as nodes[1].name in line 17`},

	// Words.
	{"mode: gateway", "mode: router", `2:7: mode: "router" is none of backend, gateway`},
	{"side: client", "side: Client", `6:11: interfaces[0].side: "Client" is none of client, server`},
	{"l2: unicast", "l2: anycast", `8:9: interfaces[0].l2: "anycast" is none of unicast, multicast, igmp`},
	{"attach: auto", "attach: xdp", `10:13: interfaces[0].attach: "xdp" is none of auto, native, generic, tcx`},
	{"affinity: client", "affinity: source", `21:13: hash.affinity: "source" is none of client, network, flow`},
	{"ipv6: full", "ipv6: first", `22:9: hash.ipv6: "first" is not a way to hash; it takes full or first-word`},
	{"key: side", "key: ct", `23:8: hash.key: "ct" is none of side, original`},
	{"action: drop", "action: reject", `24:9: action: "reject" is no action; it takes drop, or a map of the keys mark, foreign-mark`},

	// Sides.
	{"    side: client\n", "", `5:5: interfaces[0]: side is missing; mode: gateway takes client or server on every interface`},
	{"side: client", "side: server", `5:3: interfaces: no interface has side: client; mode: gateway takes at least one on each side`},
	{"mode: gateway", "mode: backend", `11:24: interfaces[1].side: "server" is for mode: gateway; in mode: backend every interface`},

	// Addresses.
	{"[192.0.2.10,", "[192.0.2.10/24,", `7:17: interfaces[0].addresses[0]: "192.0.2.10/24" has a prefix length: leave it out; it takes a plain unicast address`},
	{"[192.0.2.10,", "[192.0.2,", `7:17: interfaces[0].addresses[0]: "192.0.2" is not an IP address`},
	{"[192.0.2.10,", "[eth0,", `7:17: interfaces[0].addresses[0]: "eth0" is not an IP address`},
	{"[192.0.2.10,", "[0.0.0.0,", `7:17: interfaces[0].addresses[0]: "0.0.0.0" is the unspecified address`},
	{"[192.0.2.10,", "[0.0.0.1,", `7:17: interfaces[0].addresses[0]: "0.0.0.1" is in 0.0.0.0/8`},
	{"[192.0.2.10,", "[255.255.255.255,", `7:17: interfaces[0].addresses[0]: "255.255.255.255" is the broadcast address`},
	{"[192.0.2.10,", "[239.255.0.1,", `7:17: interfaces[0].addresses[0]: "239.255.0.1" is a multicast address`},
	{"[192.0.2.10,", "[127.0.0.1,", `7:17: interfaces[0].addresses[0]: "127.0.0.1" is a loopback address`},
	{"2001:db8::10", "::", `7:29: interfaces[0].addresses[1]: "::" is the unspecified address`},
	{"2001:db8::10", "::1", `7:29: interfaces[0].addresses[1]: "::1" is a loopback address`},
	{"2001:db8::10", "ff02::1", `7:29: interfaces[0].addresses[1]: "ff02::1" is a multicast address`},
	{"2001:db8::10", "::ffff:192.0.2.7", `7:29: interfaces[0].addresses[1]: "::ffff:192.0.2.7" is an IPv4 address in IPv6 form: write 192.0.2.7`},
	{"2001:db8::10", "fe80::9%eth1", `7:29: interfaces[0].addresses[1]: "fe80::9%eth1" has a zone: leave it out`},
	{"fe80::1\"]", "fe80::1%eth1\"]", `15:28: nodes[0].addresses[1]: "fe80::1%eth1" has a zone`},
	{"[192.0.2.1,", "[224.0.0.1,", `15:17: nodes[0].addresses[0]: "224.0.0.1" is a multicast address`},
	{"2001:db8::10", "192.0.2.10", `7:29: interfaces[0].addresses[1]: "192.0.2.10" is given twice, first as interfaces[0].addresses[0] in line 7`},
	{"[198.51.100.10]", `["2001:DB8:0::10"]`, `11:44: interfaces[1].addresses[0]: "2001:db8::10" is given twice, first as interfaces[0].addresses[1] in line 7`},
	{"[192.0.2.1,", "[192.0.2.10,", `15:17: nodes[0].addresses[0]: "192.0.2.10" is given twice, first as interfaces[0].addresses[0] in line 7; an address belongs to the cluster or to one node`},
	{"2001:db8::10", "fe80::1", `15:28: nodes[0].addresses[1]: "fe80::1" is given twice, first as interfaces[0].addresses[1]`},
	{"name: beta}", "name: beta, addresses: [192.0.2.1]}", `17:37: nodes[1].addresses[0]: "192.0.2.1" is given twice, first as nodes[0].addresses[0] in line 15`},
	{"[198.51.100.10]", "[{fe80::1}]", `11:44: interfaces[1].addresses[0]: is a map; it takes a plain`},
	{"[198.51.100.10]", "[fe80: :1]", `11:44: interfaces[1].addresses[0]: is a map; it takes a plain`},
	{"[198.51.100.10]", "[fe80:: 1]", `11:44: interfaces[1].addresses[0]: "fe80:: 1" is not an IP address`},
	{"[198.51.100.10]", "[fe80::1::2]", `11:44: interfaces[1].addresses[0]: "fe80::1::2" is not an IP address`},
	{"[198.51.100.10]", "[]", `11:43: interfaces[1].addresses: is empty; it takes a list of at least one cluster address`},

	// MACs.
	{"02:bf:c0:00:02:0a", "01:00:5e:00:01:01", `9:10: interfaces[0].mac: 01:00:5e:00:01:01 is a multicast address; l2: unicast takes`},
	{"02:bf:c0:00:02:0a", "00:bf:c0:00:02:0a", `9:10: interfaces[0].mac: 00:bf:c0:00:02:0a is not locally administered; l2: unicast takes`},
	{"l2: unicast", "l2: multicast", `9:10: interfaces[0].mac: 02:bf:c0:00:02:0a is a unicast address; l2: multicast takes`},
	{"l2: unicast", "l2: igmp", `9:10: interfaces[0].mac: 02:bf:c0:00:02:0a is not 01:00:5e:7f:y:z; l2: igmp takes`},
	{"02:bf:c0:00:02:0a", "02:bf:c0:00:02", `9:10: interfaces[0].mac: "02:bf:c0:00:02" is not an Ethernet address such as`},

	// Nodes and buckets.
	{"id: 1", "id: 0", `13:9: nodes[0].id: "0" is out of range; it takes a number from 1 to 64`},
	{"id: 1", "id: 65", `13:9: nodes[0].id: "65" is out of range`},
	{"id: 1", "id: -1", `13:9: nodes[0].id: "-1" is not a whole number`},
	{"id: 1", "id: 1.5", `13:9: nodes[0].id: "1.5" is not a whole number`},
	{"id: 1", "id: 01", `13:9: nodes[0].id: "01" is not a whole number`},
	{"{id: 2,", "{id: 1,", `17:10: nodes[1].id: "1" is given twice, first as nodes[0].id in line 13`},
	{"node: 1", "node: 3", `3:7: node: "3" is none of the nodes: 1 alpha, 2 beta`},
	{"node: 1", "node: gamma", `3:7: node: "gamma" is none of the nodes: 1 alpha, 2 beta`},
	{`"0-2047"`, `"0-4096"`, `16:14: nodes[0].buckets: "0-4096": 0-4096 is out of range; with hash.buckets: 4096 the buckets are 0-4095`},
	{`"0-2047"`, `"7-3"`, `16:14: nodes[0].buckets: "7-3": 7-3 ends before it begins`},
	{`"0-2047"`, `"0-"`, `16:14: nodes[0].buckets: "0-" is not a list of buckets`},
	{`"0-2047"`, `""`, `16:14: nodes[0].buckets: "" is not a list of buckets; it takes buckets and ranges such as`},
	{`"0-2047"`, `-1`, `16:14: nodes[0].buckets: "-1" is not a list of buckets`},
	{`"0-2047"`, `{a: 1}`, `16:14: nodes[0].buckets: is a map; it takes buckets and ranges`},
	{`"0-2047"`, `[0-5, x]`, `16:20: nodes[0].buckets[1]: "x" is not a list of buckets`},
	{`"0-2047"`, `"0-5,3"`, `16:14: nodes[0].buckets: bucket 3 is listed already, by node 1`},
	{"name: beta}", "name: beta, buckets: 5-4095}", `17:34: nodes[1].buckets: bucket 5 is listed already, by node 1`},
	{"name: beta}", "name: beta, buckets: 2049-4095}", `13:3: nodes: bucket 2048 has no owner: every node lists its buckets, and none lists this one`},
	{`"0-2047"`, `"0-4095"`, `17:5: nodes[1]: no bucket of 4096 is left for node 2; buckets: [] says that it is to have none`},
	{"buckets: 4096", "buckets: 0", `20:12: hash.buckets: "0" is out of range; it takes a number from 1 to 65536`},
	{"buckets: 4096", "buckets: 65537", `20:12: hash.buckets: "65537" is out of range`},

	// The rest.
	{"0xdeadbeef", "0x1deadbeef", `19:9: hash.seed: "0x1deadbeef" is out of range; it takes a number from 0 to 0xffffffff`},
	{"0xdeadbeef", "99999999999999999999999", `19:9: hash.seed: "99999999999999999999999" is out of range`},
	{"0xdeadbeef", "deadbeef", `19:9: hash.seed: "deadbeef" is not a whole number`},
	{"0xdeadbeef", "017", `19:9: hash.seed: "017" is not a whole number`},
	{"0xdeadbeef", "1_0", `19:9: hash.seed: "1_0" is not a whole number`},
	{"affinity: client\n  ipv6: full\n  key: side", "affinity: flow\n  key: original", `22:8: hash.key: "original" is an address and agrees with affinity: client or network`},
	{"affinity: client\n  ipv6: full", "affinity: flow\n  ipv6: first-word", `22:9: hash.ipv6: "first-word" is part of an address`},
	{"lease: 100ms", "lease: 29ms", `25:8: lease: "29ms" is out of range; it takes a duration from 30ms to 10s`},
	{"lease: 100ms", "lease: 11s", `25:8: lease: "11s" is out of range`},
	{"lease: 100ms", "lease: soon", `25:8: lease: "soon" is not a duration such as 100ms`},
	{"lease: 100ms", "lease: 100", `25:8: lease: "100" is a number`},
	{"action: drop", "action: {mark: 0x1ffffffff}", `24:16: action.mark: "0x1ffffffff" is not a mark; it takes VALUE or VALUE/MASK`},
	{"action: drop", "action: {mark: 1/}", `24:16: action.mark: "1/" is not a mark`},
	{"action: drop", "action: {mark: [1]}", `24:16: action.mark: is a list; it takes`},
	{"action: drop", "action: {mark: 1, foreign-mark: 0x1}", `24:33: action.foreign-mark: "0x1" is the mark of owned packets too`},
}

func TestFaults(t *testing.T) {
	if _, err := Parse("f", []byte(correct), Options{}); err != nil {
		t.Fatal(err)
	}
	checkFaults(t, correct, faults)
}

// checkFaults puts each fault into a right file, and wants that one error.
func checkFaults(t *testing.T, right string, faults []fault) {
	for _, tt := range faults {
		t.Run(tt.want, func(t *testing.T) {
			errs := parseErrors(t, tt.in(t, right))
			if len(errs) != 1 {
				t.Fatalf("got %v, want one error", errs)
			}
			if got := errs[0].Error(); !strings.HasPrefix(got, "f:"+tt.want) {
				t.Errorf("got  %s\nwant f:%s", got, tt.want)
			}
		})
	}
}

// in puts a fault into a right file.
func (f fault) in(t *testing.T, right string) string {
	t.Helper()
	text := strings.Replace(right, f.old, f.new, 1)
	if text == right {
		t.Fatalf("%q is not in the file", f.old)
	}
	return text
}

// parseErrors parses a text that is wrong and checks what all errors have in
// common: a place in the text, at which the offending text is.
func parseErrors(t *testing.T, text string) Errors {
	t.Helper()
	c, err := Parse("f", []byte(text), Options{})
	var errs Errors
	if !errors.As(err, &errs) {
		t.Fatalf("got %+v, %v, want Errors", c, err)
	}
	if c != nil {
		t.Errorf("got a cluster beside the errors: %+v", c)
	}
	lines := strings.Split(text, "\n")
	for i, e := range errs {
		if i > 0 && comparePlaces(errs[i-1], e) > 0 {
			t.Errorf("%v comes after %v", e, errs[i-1])
		}
		if e.Line < 1 || e.Line > len(lines) || e.Column < 1 || e.Column > len(lines[e.Line-1])+1 {
			t.Errorf("%v: there is no such place", e)
			continue
		}
		rest := strings.TrimLeft(lines[e.Line-1][e.Column-1:], `"'`)
		if !strings.HasPrefix(e.Message, "not YAML") && !strings.HasPrefix(rest, e.Text) {
			t.Errorf("%v: %q is not there", e, e.Text)
		}
	}
	return errs
}

func TestAllFaultsTogether(t *testing.T) {
	const text = `cluster: Web
colour: red
mode: gateway
lease: 1ms
interfaces:
  - {name: eth1, side: left, mac: 1}
nodes:
  - {id: 1, buckets: x}
  - {id: 1}
`
	var got []string
	for _, e := range parseErrors(t, text) {
		got = append(got, fmt.Sprintf("%d:%d %s %s", e.Line, e.Column, e.Path, e.Text))
	}
	want := []string{
		"1:10 cluster Web",
		"2:1  colour",
		"4:8 lease 1ms",
		"6:5 interfaces[0] ",
		"6:24 interfaces[0].side left",
		"6:35 interfaces[0].mac 1",
		"8:22 nodes[0].buckets x",
		"9:10 nodes[1].id 1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMarkNeedsTCX(t *testing.T) {
	for _, attach := range []string{"native", "generic"} {
		text := strings.NewReplacer("attach: auto", "attach: "+attach, "action: drop", "action: {mark: 0xffff}").Replace(correct)
		errs := parseErrors(t, text)
		want := fmt.Sprintf("f:10:13: interfaces[0].attach: %q cannot mark packets; action: mark takes attach: auto or tcx", attach)
		if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), want) {
			t.Errorf("got %v, want %s", errs, want)
		}
	}
}

func TestTooMany(t *testing.T) {
	var interfaces, addresses, nodes strings.Builder
	for i := range 9 {
		fmt.Fprintf(&interfaces, "  - {name: e%d, side: client, addresses: [203.0.113.%d]}\n", i, i+1)
	}
	for i := range 255 {
		fmt.Fprintf(&addresses, "10.0.0.%d, ", i+1)
	}
	for i := range 63 {
		fmt.Fprintf(&nodes, "  - {id: %d}\n", i+2)
	}
	for _, tt := range []struct{ old, new, want string }{
		{"interfaces:\n", "interfaces:\n" + interfaces.String(), "interfaces[8]: element 9 of 11; at most 8 are allowed"},
		{"[192.0.2.10", "[" + addresses.String() + "192.0.2.10", "interfaces: 258 cluster addresses; a cluster has at most 256"},
		{"nodes:\n", "nodes:\n" + nodes.String() + "  - {id: 3}\n", "nodes[64]: element 65 of 66; at most 64 are allowed"},
	} {
		errs := parseErrors(t, strings.Replace(correct, tt.old, tt.new, 1))
		found := slices.ContainsFunc(errs, func(e *Error) bool { return e.Path+": "+e.Message == tt.want })
		if !found {
			t.Errorf("got %v, want %s", errs, tt.want)
		}
	}
}

func TestErrorText(t *testing.T) {
	_, err := Parse("cluster.yaml", []byte(strings.Replace(correct, "web", "Web", 1)), Options{})
	want := `cluster.yaml:1:10: cluster: "Web" cannot be a cluster's name; it takes a name of 1 to 15 characters a-z, 0-9 and -, the first not -
    cluster: Web
             ^`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
	_, err = Parse("cluster.yaml", []byte("# nothing\n"), Options{})
	want = "cluster.yaml: the file is empty; `shoal config example` prints one to begin with"
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
	_, err = Parse("cluster.yaml", []byte("a:\tx\nb: y\n"), Options{})
	if got := err.Error(); !strings.HasPrefix(got, "6 errors in the configuration\ncluster.yaml:1:1: ") {
		t.Errorf("got %s", got)
	}
	var single *Error
	if !errors.As(err, &single) || single.Line != 1 {
		t.Errorf("got %v as *Error", single)
	}
	if got, want := indent("a:\tx", 3), "  \t"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
