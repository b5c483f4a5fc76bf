//go:build privileged

package netdev

import (
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// CheckARP agrees with what the kernel then does.
func TestCheckARP(t *testing.T) {
	_, peer := pair(t)
	add(t, "eth1", "192.0.2.10")
	own(t, "eth1", "192.0.2.1/24")
	echo(t, "192.0.2.10:7")
	peer.on(t, func() { own(t, "eth1", "192.0.2.99/24") })
	for _, conf := range []string{"eth1", "all"} {
		for _, value := range []int{0, 1, 2, 3, 4, 8} {
			key := "net/ipv4/conf/" + conf + "/arp_ignore"
			write(t, key, strconv.Itoa(value))
			var answers bool
			peer.on(t, func() {
				forget(t, "eth1")
				answers = ask(t, "192.0.2.10:7", 300*time.Millisecond)
			})
			if err := CheckARP("eth1"); (err == nil) != answers {
				t.Errorf("%s = %d: answered: %v; CheckARP: %v", key, value, answers, err)
			}
		}
		write(t, "net/ipv4/conf/"+conf+"/arp_ignore", "0")
	}
}

// forget empties an interface's neighbour table.
func forget(t *testing.T, name string) {
	t.Helper()
	neighbours, err := netlink.NeighList(device(t, name).Attrs().Index, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range neighbours {
		if err := netlink.NeighDel(&n); err != nil {
			t.Fatal(err)
		}
	}
}
