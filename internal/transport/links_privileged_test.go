//go:build privileged

package transport

import (
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func openLinks(t testing.TB, names ...string) *Links {
	t.Helper()
	l, err := OpenLinks(names)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// awaitUp reads until the given interfaces are up.
func awaitUp(t testing.TB, l *Links, want uint8) {
	t.Helper()
	for got := ^want; got != want; {
		var err error
		awaitReadable(t, l.FD())
		got, err = l.Read()
		must(t, err)
	}
}

func (l *Links) check(t testing.TB, n int, there bool) {
	t.Helper()
	index := 0
	if there {
		index = link(t, l.names[n]).Attrs().Index
	}
	if got := l.Index(n); got != index {
		t.Errorf("%s has index %d, want %d", l.names[n], got, index)
	}
	if want := map[bool]int{true: n, false: -1}[there]; l.Number(index) != want {
		t.Errorf("index %d is number %d, want %d", index, l.Number(index), want)
	}
}

func TestLinks(t *testing.T) {
	enter(t, newNamespace(t))
	newPair(t, "one", "one-far")
	newPair(t, "two", "two-far")
	for _, name := range []string{"one-far", "two", "two-far"} {
		up(t, name)
	}
	l := openLinks(t, "none", "one", "two")
	awaitUp(t, l, 0b100)
	l.check(t, 0, false)
	l.check(t, 1, true)
	l.check(t, 2, true)
	if l.Number(99) != -1 {
		t.Error("index 99 is one of them")
	}

	up(t, "one")
	awaitUp(t, l, 0b110)
	down(t, "two-far") // carrier lost
	awaitUp(t, l, 0b010)
	l.check(t, 2, true)
	down(t, "one")
	up(t, "two-far")
	awaitUp(t, l, 0b100)

	must(t, netlink.LinkDel(link(t, "two")))
	awaitUp(t, l, 0)
	l.check(t, 2, false)
	newPair(t, "spare", "spare-far") // or the new one could have the old one's index
	newPair(t, "two", "two-far")
	up(t, "two")
	up(t, "two-far")
	awaitUp(t, l, 0b100)
	l.check(t, 2, true)

	down(t, "two") // an interface takes another name while it is down
	must(t, netlink.LinkSetName(link(t, "two"), "none"))
	up(t, "none")
	awaitUp(t, l, 0b001)
	l.check(t, 0, true)
	if l.Index(2) != 0 {
		t.Errorf("two has index %d still", l.Index(2))
	}
}

// A port that leaves a bridge is not gone.
func TestLinksBridge(t *testing.T) {
	enter(t, newNamespace(t))
	newStar(t, "one")
	l := openLinks(t, "one-port", "bridge")
	awaitUp(t, l, 0b11)
	must(t, netlink.LinkSetNoMaster(link(t, "one-port")))
	awaitUp(t, l, 0b01)
	l.check(t, 0, true)
}

// More events than the socket holds: what is so is asked for again.
func TestLinksOverflow(t *testing.T) {
	enter(t, newNamespace(t))
	newPair(t, "one", "one-far")
	newPair(t, "two", "two-far")
	for _, name := range []string{"one", "one-far", "two"} {
		up(t, name)
	}
	l := openLinks(t, "one", "two")
	must(t, unix.SetsockoptInt(l.FD(), unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<10))
	awaitUp(t, l, 0b01)
	for range 100 {
		must(t, netlink.LinkSetMTU(link(t, "two-far"), 1400))
		must(t, netlink.LinkSetMTU(link(t, "two-far"), 1500))
	}
	up(t, "two-far")
	must(t, netlink.LinkDel(link(t, "one")))
	if lost, err := l.drain(); !lost || err != nil {
		t.Fatalf("nothing was lost: %v", err)
	}
	must(t, l.dump())
	awaitUp(t, l, 0b10)
	l.check(t, 0, false)
}

func TestLinksNoGarbage(t *testing.T) {
	enter(t, newNamespace(t))
	newPair(t, "one", "one-far")
	l := openLinks(t, "one")
	awaitUp(t, l, 0)
	if allocs := testing.AllocsPerRun(100, func() {
		l.dump()
		l.Read()
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestLinksTooMany(t *testing.T) {
	if _, err := OpenLinks(make([]string, 9)); err == nil {
		t.Error("nine interfaces in eight bits")
	}
}
