package match_test

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/shoal-net/shoal/match"
)

func Example() {
	args := strings.Fields("--cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 0xdeadbeef")
	m, _, err := match.Parse(args)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m)
	for _, addr := range []string{"192.0.2.1", "192.0.2.2", "2001:db8::1"} {
		addr := netip.MustParseAddr(addr)
		fmt.Println(addr, m.Owner(addr), m.Matches(addr))
	}
	// Output:
	// --cluster-local-nodemask 0x00000001 --cluster-total-nodes 2 --cluster-hash-seed 0xdeadbeef
	// 192.0.2.1 2 false
	// 192.0.2.2 1 true
	// 2001:db8::1 2 false
}

func ExampleBucket() {
	h := match.Hash{Seed: 0xdeadbeef}
	network := h.Network(netip.MustParseAddr("192.0.2.1"))
	flow := h.Flow(match.Flow{
		Client: netip.MustParseAddr("192.0.2.1"), ClientPort: 40000,
		Server: netip.MustParseAddr("198.51.100.1"), ServerPort: 443,
		Protocol: 6,
	})
	fmt.Println(match.Bucket(network, 4096), match.Bucket(flow, 4096))
	// Output: 1534 185
}
