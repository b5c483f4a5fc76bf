package match_test

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/shoal-net/shoal/match"
)

func TestNetwork(t *testing.T) {
	for _, c := range []struct {
		firstWord bool
		addr      string
		as        string // the address whose hash as a client is wanted
	}{
		{false, "192.0.2.77", "192.0.2.0"},
		{false, "::ffff:192.0.2.77", "192.0.2.0"},
		{false, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
		{false, "fe80::1%eth0", "fe80::"},
		{true, "2001:db8:1:2:3:4:5:6", "2001:db8::"},
		{true, "192.0.2.77", "192.0.2.0"},
	} {
		h := match.Hash{Seed: 7, IPv6FirstWord: c.firstWord}
		got, want := h.Network(netip.MustParseAddr(c.addr)), h.Client(netip.MustParseAddr(c.as))
		if got != want {
			t.Errorf("network of %s: %#x, want %#x, that of %s", c.addr, got, want, c.as)
		}
	}
}

func TestFlowKey(t *testing.T) {
	v4 := match.Flow{
		Client: netip.MustParseAddr("192.0.2.1"), Server: netip.MustParseAddr("198.51.100.9"),
		Protocol: 6, ClientPort: 40000, ServerPort: 443,
	}
	v6 := v4
	v6.Client, v6.Server = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::9")
	h := match.Hash{Seed: 3}
	for _, f := range []match.Flow{v4, v6} {
		for name, change := range map[string]func(*match.Flow){
			"client":      func(f *match.Flow) { f.Client = f.Client.Next() },
			"server":      func(f *match.Flow) { f.Server = f.Server.Next() },
			"sides":       func(f *match.Flow) { f.Client, f.Server = f.Server, f.Client },
			"protocol":    func(f *match.Flow) { f.Protocol = 17 },
			"client port": func(f *match.Flow) { f.ClientPort++ },
			"server port": func(f *match.Flow) { f.ServerPort++ },
		} {
			other := f
			change(&other)
			if h.Flow(f) == h.Flow(other) {
				t.Errorf("%v: another %s, the same hash", f, name)
			}
		}
		kernel := match.Hash{Seed: 3, IPv6FirstWord: true}
		if h.Flow(f) != kernel.Flow(f) {
			t.Errorf("%v: a flow is hashed by whole addresses, whatever clients are hashed by", f)
		}
	}
}

func TestFlowPorts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := match.Flow{
			Client: anyAddr().Draw(t, "client"), Server: anyAddr().Draw(t, "server"),
			Protocol:   rapid.Uint8().Draw(t, "protocol"),
			ClientPort: rapid.Uint16().Draw(t, "client port"), ServerPort: rapid.Uint16().Draw(t, "server port"),
		}
		without := f
		without.ClientPort, without.ServerPort = 0, 0
		hasPorts := f.Protocol == 6 || f.Protocol == 17 || f.Protocol == 132
		if h := (match.Hash{}); !hasPorts && h.Flow(f) != h.Flow(without) {
			t.Fatalf("protocol %d has no ports", f.Protocol)
		}
	})
}

// No input may panic: addresses come from outside.
func TestHashOfNoAddress(t *testing.T) {
	var h match.Hash
	zeroes := netip.IPv6Unspecified()
	if h.Client(netip.Addr{}) != h.Client(zeroes) || h.Network(netip.Addr{}) != h.Network(zeroes) {
		t.Error("the zero Addr is not hashed as ::")
	}
	h.Flow(match.Flow{})
	h.Flow(match.Flow{Client: netip.MustParseAddr("192.0.2.1"), Server: zeroes})
}

func BenchmarkClientIPv4(b *testing.B) {
	h, addr := match.Hash{Seed: 1}, netip.MustParseAddr("192.0.2.1")
	for b.Loop() {
		h.Client(addr)
	}
}

func BenchmarkClientIPv6(b *testing.B) {
	h, addr := match.Hash{Seed: 1}, netip.MustParseAddr("2001:db8::1")
	for b.Loop() {
		h.Client(addr)
	}
}
