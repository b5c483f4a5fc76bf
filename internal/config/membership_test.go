package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-net/shoal/internal/cluster"
)

// member is a right file of nodes that know each other.
const member = `cluster: web
mode: backend
node: 1
interfaces:
  - {name: eth1, addresses: [192.0.2.10]}
nodes:
  - {id: 1, name: alpha, addresses: [192.0.2.1]}
  - {id: 2, name: beta, addresses: [192.0.2.2], weight: 250}
  - {id: 3, name: gamma, addresses: [192.0.2.3], serve: false}
lease: 60ms
heartbeat: 20ms
heartbeat-interfaces: [eth2, eth3]
partition: available
witness: 192.0.2.254
key: [a very secret one, "another secret one"]
`

func TestMembership(t *testing.T) {
	c, err := Parse("f", []byte(member), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := &cluster.Cluster{
		Name: "web", Self: 1,
		Nodes: []cluster.Node{
			{ID: 1, Name: "alpha", Addresses: addrs("192.0.2.1"), Weight: 100},
			{ID: 2, Name: "beta", Addresses: addrs("192.0.2.2"), Weight: 250},
			{ID: 3, Name: "gamma", Addresses: addrs("192.0.2.3"), Weight: 100, VoterOnly: true},
		},
		Interfaces: []cluster.Interface{{Name: "eth1", Addresses: addrs("192.0.2.10"), MAC: cluster.MAC{0x02, 0xbf, 192, 0, 2, 10}}},
		Hash:       cluster.Hash{Buckets: 4096},
		Lease:      60 * time.Millisecond,
		Membership: cluster.Membership{
			Heartbeat:  20 * time.Millisecond,
			Partition:  cluster.Available,
			Witness:    netip.MustParseAddr("192.0.2.254"),
			Keys:       []string{"a very secret one", "another secret one"},
			Interfaces: []string{"eth2", "eth3"},
		},
		Handover: cluster.Handover{Drain: time.Hour},
	}
	if diff := cmp.Diff(want, c, equalAddr); diff != "" {
		t.Error(diff)
	}
	if !c.HasMembership() {
		t.Error("its nodes are said not to know each other")
	}
}

func TestHasMembership(t *testing.T) {
	for edit, want := range map[string]bool{
		"":                               true,
		"addresses: [192.0.2.2], weight": false, // that node's addresses
	} {
		text := strings.NewReplacer(", weight: 250", "", ", serve: false", "").Replace(member[:strings.Index(member, "lease:")])
		if edit != "" {
			text = strings.Replace(text, ", addresses: [192.0.2.2]", "", 1)
		}
		c, err := Parse("f", []byte(text), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if c.HasMembership() != want {
			t.Errorf("%q: %t", edit, !want)
		}
	}
}

func TestHeartbeatDefault(t *testing.T) {
	for lease, want := range map[string]time.Duration{
		"30ms": 6 * time.Millisecond, "100ms": 20 * time.Millisecond, "10s": 20 * time.Millisecond,
	} {
		c, err := Parse("f", []byte(minimal+"lease: "+lease+"\n"), Options{Node: "1"})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Membership.Heartbeat; got != want {
			t.Errorf("lease %s: heartbeat %s, want %s", lease, got, want)
		}
	}
}

func TestMembershipFaults(t *testing.T) {
	if _, err := Parse("f", []byte(member), Options{}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []fault{
		{"heartbeat: 20ms", "heartbeat: 21ms", `11:12: heartbeat: 21ms is more than a third of the lease, which is 60ms`},
		{"lease: 60ms", "lease: 30ms", `11:12: heartbeat: 20ms is more than a third of the lease, which is 30ms`},
		{"heartbeat: 20ms", "heartbeat: 4ms", `11:12: heartbeat: "4ms" is out of range; it takes a duration from 5ms to a third of the lease`},
		{"heartbeat: 20ms", "heartbeat: often", `11:12: heartbeat: "often" is not a duration`},
		{"heartbeat: 20ms", "heartbeat: 20", `11:12: heartbeat: "20" is a number`},
		{"lease: 60ms", "lease: 20s", `10:8: lease: "20s" is out of range`},
		{"partition: available", "partition: default", `13:12: partition: "default" is not a way to go on; it takes available or majority`},
		{"partition: available", "partition: both", `13:12: partition: "both" is none of`},
		{"192.0.2.254", "gateway", `14:10: witness: "gateway" is not an IP address`},
		{"192.0.2.254", "192.0.2.2", `14:10: witness: "192.0.2.2" is nodes[1].addresses[0]: a witness is a host outside the cluster`},
		{"192.0.2.254", "192.0.2.10", `14:10: witness: "192.0.2.10" is interfaces[0].addresses[0]: a witness is`},
		{"[eth2, eth3]", "[eth1]", `12:24: heartbeat-interfaces[0]: "eth1" is one of the cluster's interfaces`},
		{"[eth2, eth3]", "[eth2, eth2]", `12:30: heartbeat-interfaces[1]: "eth2" is given twice`},
		{"[eth2, eth3]", "[e/2]", `12:24: heartbeat-interfaces[0]: "e/2" cannot be an interface's name`},
		{"[eth2, eth3]", "eth2", `12:23: heartbeat-interfaces: "eth2" is text; it takes a list`},
		{"[eth2, eth3]", "[a, b, c, d, e, f, g, h]", `12:23: heartbeat-interfaces: 9 interfaces together with those under interfaces; at most 8 are allowed`},
		{"weight: 250", "weight: 1001", `8:57: nodes[1].weight: "1001" is out of range; it takes a number from 0 to 1000`},
		{"serve: false", "serve: maybe", `9:57: nodes[2].serve: "maybe" is text; it takes true or false`},
		{"serve: false", "buckets: []", `8:57: nodes[1].weight: weight is for nodes that know each other: give every node addresses, and none buckets`},
		{"a very secret one", "a secret", `15:7: key[0]: a key of 8 characters is too short`},
		{"another secret one", "a very secret one", `15:26: key[1]: the same key twice`},
		{"another secret one", " another secret one", `15:26: key[1]: a key with spaces at its ends`},
		{"another secret one", strings.Repeat("x", 257), `15:26: key[1]: a key of 257 characters is too long`},
		{`"another secret one"]`, `"another secret one", a third secret key]`, `15:48: key[2]: element 3 of 3; at most 2 are allowed`},
		{`[a very secret one, "another secret one"]`, `{a: b}`, `15:6: key: not text, or not quoted; it takes`},
		{"node: 1", "node: 1\nkey-file: /etc/shoal/key", `4:11: key-file: the key is given already, in line 16`},
		{`key: [a very secret one, "another secret one"]`, "key-file: shoal.key", `15:11: key-file: "shoal.key" is not an absolute path`},
	} {
		t.Run(tt.want, func(t *testing.T) {
			var errs Errors
			if _, err := Parse("f", []byte(tt.in(t, member)), Options{}); !errors.As(err, &errs) {
				t.Fatalf("got %v", err)
			}
			if got := errs[0].Error(); !strings.HasPrefix(got, "f:"+tt.want) {
				t.Errorf("got  %s\nwant f:%s", got, tt.want)
			}
			if strings.Contains(errs[0].Error(), "secret one") {
				t.Errorf("a secret is shown: %s", errs[0])
			}
		})
	}
}

func TestNobodyServes(t *testing.T) {
	text := strings.NewReplacer("[192.0.2.1]}", "[192.0.2.1], serve: false}", "weight: 250", "weight: 0").Replace(member)
	_, err := Parse("f", []byte(text), Options{})
	if err == nil || !strings.Contains(err.Error(), "none of the nodes serves") {
		t.Errorf("got %v", err)
	}
}

func TestSeven(t *testing.T) {
	text := strings.Replace(member, "[eth2, eth3]", "[a, b, c, d, e, f, g]", 1)
	if _, err := Parse("f", []byte(text), Options{}); err != nil {
		t.Error(err)
	}
	text = strings.Replace(text, "nodes:\n", "  - {name: eth5, addresses: [198.51.100.10]}\nnodes:\n", 1)
	if _, err := Parse("f", []byte(text), Options{}); err == nil || !strings.Contains(err.Error(), "9 interfaces together") {
		t.Errorf("got %v", err)
	}
}

func TestKeyFile(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode
		want       []string
		err        string
	}{
		{"one", "the first of two keys\n", 0o640, []string{"the first of two keys"}, ""},
		{"two", "# new\nthe first of two keys\n\n  the second of two keys\r\n", 0o400, []string{"the first of two keys", "the second of two keys"}, ""},
		{"readable by all", "the first of two keys\n", 0o604, nil, "everybody on this host can read the key"},
		{"none", "# nothing\n", 0o600, nil, "0 keys"},
		{"three", "the first of two keys\nthe second of two keys\nthe third of two keys\n", 0o600, nil, "3 keys"},
		{"short", "\nkey\n", 0o600, nil, "line 2: a key of 3 characters is too short"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			key, file := filepath.Join(dir, "key"), filepath.Join(dir, "cluster.yaml")
			write(t, key, tt.text, tt.mode)
			text := member[:strings.Index(member, "key:")] + "key-file: " + key + "\n"
			write(t, file, text, 0o644)
			c, err := Load(file, Options{})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), ":15:11: key-file:") {
					t.Fatalf("got %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, c.Membership.Keys); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestExposedKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cluster.yaml")
	write(t, file, member, 0o644)
	_, err := Load(file, Options{})
	if err == nil || !strings.Contains(err.Error(), ":15:6: key: everybody on this host can read the key") {
		t.Errorf("got %v", err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file, Options{}); err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}
