package cluster

import (
	"encoding/json"
	"net/netip"
	"os"
	"testing"

	"github.com/shoal-net/shoal/match"
)

// vector is a decision of the kernel's own match, with as many buckets as nodes.
type vector struct {
	Addr    netip.Addr `json:"addr"`
	Nodes   int        `json:"total_nodes"`
	Seed    uint32     `json:"seed"`
	Node    int        `json:"node"`
	NodeAll int        `json:"node_all_128_bits"`
}

func TestBucketVectors(t *testing.T) {
	text, err := os.ReadFile("../../match/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ IPv4, IPv6 []vector }
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.IPv4) < 1000 || len(all.IPv6) < 1000 {
		t.Fatalf("%d and %d vectors", len(all.IPv4), len(all.IPv6))
	}
	for _, v := range append(all.IPv4, all.IPv6...) {
		whole := v.NodeAll
		if v.Addr.Is4() {
			whole = v.Node
		}
		for _, firstWord := range []bool{false, true} {
			want := whole - 1
			if firstWord {
				want = v.Node - 1
			}
			h := Hash{Seed: v.Seed, Buckets: v.Nodes, IPv6FirstWord: firstWord}
			if got := h.Bucket(match.Flow{Client: v.Addr}); got != want {
				t.Errorf("%s, %d buckets, seed %#x, first word %t: %d, want %d", v.Addr, v.Nodes, v.Seed, firstWord, got, want)
			}
		}
	}
}

// What is hashed, by affinity, with as many buckets as there can be.
func TestBucket(t *testing.T) {
	flow := func(client, server string, protocol uint8, cport, sport uint16) match.Flow {
		return match.Flow{Client: netip.MustParseAddr(client), Server: netip.MustParseAddr(server), Protocol: protocol, ClientPort: cport, ServerPort: sport}
	}
	v4 := flow("192.0.2.77", "198.51.100.10", 6, 4000, 80)
	v6 := flow("2001:db8:0:1::77", "2001:db8::10", 6, 4000, 80)
	for _, tt := range []struct {
		name                  string
		a, b                  match.Flow
		client, network, flow bool // whether both are in one bucket
	}{
		{"other ports", v4, flow("192.0.2.77", "198.51.100.10", 6, 4001, 80), true, true, false},
		{"other protocol", v4, flow("192.0.2.77", "198.51.100.10", 17, 4000, 80), true, true, false},
		{"other server", v6, flow("2001:db8:0:1::77", "2001:db8::11", 6, 4000, 80), true, true, false},
		{"neighbour", v4, flow("192.0.2.78", "198.51.100.10", 6, 4000, 80), false, true, false},
		{"neighbour", v6, flow("2001:db8:0:1::78", "2001:db8::10", 6, 4000, 80), false, true, false},
		{"other network", v4, flow("192.0.3.77", "198.51.100.10", 6, 4000, 80), false, false, false},
		{"other network", v6, flow("2001:db8:0:2::77", "2001:db8::10", 6, 4000, 80), false, false, false},
		{"mapped", v4, flow("::ffff:192.0.2.77", "::ffff:198.51.100.10", 6, 4000, 80), true, true, true},
		{"protocol without ports", flow("192.0.2.77", "198.51.100.10", 1, 0, 0), flow("192.0.2.77", "198.51.100.10", 1, 1, 2), true, true, true},
	} {
		for affinity, want := range map[Affinity]bool{ByClient: tt.client, ByNetwork: tt.network, ByFlow: tt.flow} {
			h := Hash{Seed: 7, Buckets: MaxBuckets, Affinity: affinity}
			if got := h.Bucket(tt.a) == h.Bucket(tt.b); got != want {
				t.Errorf("%s (%s), affinity %s: in one bucket %t, want %t", tt.name, tt.a.Client, affinity, got, want)
			}
		}
	}
}
