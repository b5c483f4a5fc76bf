package match_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"testing"

	"pgregory.net/rapid"

	"github.com/shoal-net/shoal/match"
)

// vector is a decision of the kernel's own xt_cluster.
type vector struct {
	Addr       netip.Addr `json:"addr"`
	TotalNodes int        `json:"total_nodes"`
	Seed       uint32     `json:"seed"`
	Hash       uint32     `json:"hash"`
	Node       int        `json:"node"`
	NodeAll    int        `json:"node_all_128_bits"`
}

func vectors(t *testing.T) (v struct{ IPv4, IPv6 []vector }) {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.IPv4) < 1000 || len(v.IPv6) < 1000 {
		t.Fatalf("only %d and %d vectors", len(v.IPv4), len(v.IPv6))
	}
	return v
}

func TestVectors(t *testing.T) {
	all := vectors(t)
	for _, v := range append(all.IPv4, all.IPv6...) {
		m := match.Match{TotalNodes: v.TotalNodes, Seed: v.Seed, IPv6FirstWord: true}
		if got := m.Owner(v.Addr); got != v.Node {
			t.Errorf("%s of %d, seed %#x, first word: node %d, want %d", v.Addr, v.TotalNodes, v.Seed, got, v.Node)
		}
		h := match.Hash{Seed: v.Seed, IPv6FirstWord: true}
		if got := h.Client(v.Addr); got != v.Hash {
			t.Errorf("%s, seed %#x: hash %d, want %d", v.Addr, v.Seed, got, v.Hash)
		}
		if v.Addr.Is4() {
			v.NodeAll = v.Node
		}
		m.IPv6FirstWord = false
		if got := m.Owner(v.Addr); got != v.NodeAll {
			t.Errorf("%s of %d, seed %#x: node %d, want %d", v.Addr, v.TotalNodes, v.Seed, got, v.NodeAll)
		}
	}
}

func TestMatches(t *testing.T) {
	// The kernel's decisions of the manual page's example: seed 0xdeadbeef,
	// two nodes.
	one := match.Match{TotalNodes: 2, NodeMask: 1, Seed: 0xdeadbeef}
	two := match.Match{TotalNodes: 2, NodeMask: 2, Seed: 0xdeadbeef}
	both := match.Match{TotalNodes: 2, NodeMask: 3, Seed: 0xdeadbeef}
	notOne, notBoth := one, both
	notOne.Inverted, notBoth.Inverted = true, true
	addr := netip.MustParseAddr("192.0.2.1")
	if one.Owner(addr) != 2 {
		t.Fatalf("192.0.2.1 is node %d's, want 2", one.Owner(addr))
	}
	for _, c := range []struct {
		name string
		m    match.Match
		addr netip.Addr
		want bool
	}{
		{"another's", one, addr, false},
		{"own", two, addr, true},
		{"mask of both", both, addr, true},
		{"inverted, another's", notOne, addr, true},
		{"inverted, both", notBoth, addr, false},
		{"mapped", two, netip.MustParseAddr("::ffff:192.0.2.1"), true},
		{"no address", both, netip.Addr{}, false},
		{"no address, inverted", notOne, netip.Addr{}, false},
	} {
		if got := c.m.Matches(c.addr); got != c.want {
			t.Errorf("%s: %s matches %s: %v, want %v", c.name, c.m, c.addr, got, c.want)
		}
	}
}

func TestIPv6FirstWord(t *testing.T) {
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:ffff::2")
	kernel := match.Hash{Seed: 1, IPv6FirstWord: true}
	if kernel.Client(a) != kernel.Client(b) {
		t.Error("first word: two addresses of one /32 have different hashes")
	}
	if whole := (match.Hash{Seed: 1}); whole.Client(a) == whole.Client(b) {
		t.Error("whole address: two addresses of one /32 have one hash")
	}
	if got, want := kernel.Client(a), kernel.Client(netip.AddrFrom4([4]byte{0x20, 1, 0x0d, 0xb8})); got != want {
		t.Errorf("first word: %#x, want that of the IPv4 address with the same bytes, %#x", got, want)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		m  match.Match
		ok bool
	}{
		{match.Match{TotalNodes: 1, NodeMask: 1}, true},
		{match.Match{TotalNodes: 32, NodeMask: 1 << 31}, true},
		{match.Match{TotalNodes: 32, NodeMask: 0xffffffff}, true},
		{match.Match{TotalNodes: 31, NodeMask: 1 << 31}, false},
		{match.Match{TotalNodes: 2, NodeMask: 4}, false},
		{match.Match{TotalNodes: 2}, false},
		{match.Match{NodeMask: 1}, false},
		{match.Match{TotalNodes: 33, NodeMask: 1}, false},
		{match.Match{TotalNodes: -1, NodeMask: 1}, false},
	} {
		if err := c.m.Validate(); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.m, err)
		}
	}
}

func TestBucketEdges(t *testing.T) {
	for _, c := range []struct {
		hash          uint32
		buckets, want int
	}{
		{0, 1, 0}, {0xffffffff, 1, 0},
		{0x7fffffff, 2, 0}, {0x80000000, 2, 1},
		{0xffffffff, 3, 2}, {0x55555555, 3, 0}, {0x55555556, 3, 1},
		{0xffffffff, match.MaxBuckets, match.MaxBuckets - 1}, {0x0001ffff, match.MaxBuckets, 1},
	} {
		if got := match.Bucket(c.hash, c.buckets); got != c.want {
			t.Errorf("Bucket(%#x, %d) = %d, want %d", c.hash, c.buckets, got, c.want)
		}
	}
}

func anyAddr() *rapid.Generator[netip.Addr] {
	return rapid.Custom(func(t *rapid.T) netip.Addr {
		size := rapid.SampledFrom([]int{4, 16}).Draw(t, "size")
		addr, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "bytes"))
		return addr
	})
}

func anyMatch() *rapid.Generator[match.Match] {
	return rapid.Custom(func(t *rapid.T) match.Match {
		total := rapid.IntRange(1, match.MaxNodes).Draw(t, "total")
		return match.Match{
			TotalNodes:    total,
			NodeMask:      rapid.Uint32Range(1, uint32(1<<total-1)).Draw(t, "mask"),
			Inverted:      rapid.Bool().Draw(t, "inverted"),
			Seed:          rapid.Uint32().Draw(t, "seed"),
			IPv6FirstWord: rapid.Bool().Draw(t, "first word"),
		}
	})
}

func TestExactlyOneNodeMatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, addr := anyMatch().Draw(t, "match"), anyAddr().Draw(t, "addr")
		m.Inverted = false
		matched := 0
		for i := range m.TotalNodes {
			m.NodeMask = 1 << i
			if m.Matches(addr) {
				matched++
				if m.Owner(addr) != i+1 {
					t.Fatalf("node %d matches, but the owner is %d", i+1, m.Owner(addr))
				}
			}
		}
		if matched != 1 {
			t.Fatalf("%d nodes match %s", matched, addr)
		}
	})
}

func TestInversionComplements(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, addr := anyMatch().Draw(t, "match"), anyAddr().Draw(t, "addr")
		inverted, others := m, m
		inverted.Inverted = !m.Inverted
		if m.Matches(addr) == inverted.Matches(addr) {
			t.Fatalf("%s and its inverse agree on %s", m, addr)
		}
		others.NodeMask = uint32(1<<m.TotalNodes-1) &^ m.NodeMask
		if others.Matches(addr) != inverted.Matches(addr) {
			t.Fatalf("%s: inversion is not the other nodes' mask for %s", m, addr)
		}
	})
}

func TestBucketIsMonotonicAndEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		buckets := rapid.IntRange(1, match.MaxBuckets).Draw(t, "buckets")
		a, b := rapid.Uint32().Draw(t, "a"), rapid.Uint32().Draw(t, "b")
		x, y := match.Bucket(a, buckets), match.Bucket(b, buckets)
		if x < 0 || x >= buckets || a <= b && x > y {
			t.Fatalf("Bucket(%d) = %d, Bucket(%d) = %d of %d", a, x, b, y, buckets)
		}
	})
}
