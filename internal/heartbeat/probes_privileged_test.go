//go:build privileged

package heartbeat

import (
	"net/netip"
	"testing"
)

// One host that cannot be asked takes nothing from the others, and is told of once.
func TestAimKeepsWhatIsOpen(t *testing.T) {
	var p probes
	defer p.close()
	localhost := netip.MustParseAddr("127.0.0.1")
	targets := []Target{{Interface: "lo", Address: localhost}, {Address: localhost}}
	if err := p.aim(targets); err == nil {
		t.Fatal("lo has no neighbours, and nothing is said")
	}
	open := p.open[1]
	if open == nil || p.open[0] != nil {
		t.Fatalf("open are %v", p.open)
	}
	if err := p.aim(targets); err != nil || p.open[1] != open {
		t.Errorf("%v again, and the other one is made anew: %t", err, p.open[1] != open)
	}
	targets = targets[1:]
	if err := p.aim(targets); err != nil || len(p.open) != 1 || p.open[0] == nil {
		t.Errorf("%v, open are %v", err, p.open)
	}
	again := []Target{{Address: localhost, Link: "another"}}
	before := p.open[0]
	if err := p.aim(again); err != nil || p.open[0] == before {
		t.Errorf("%v; a target on another link is asked over the same socket: %t", err, p.open[0] == before)
	}
}
