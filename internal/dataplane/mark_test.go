//go:build privileged

package dataplane

import (
	"bytes"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
)

const originalKey = cluster.KeyOriginal

// Action mark drops nothing that a bucket decides: it marks.
func TestMark(t *testing.T) {
	enterNamespace(t)
	loaded := make(rigs)
	packet := eth(toCluster, ipv4(client4, vip4, udp(4000, 53)))
	reset := eth(toCluster, ipv4(client4, vip4, tcp(4000, 80, ack)))
	whole := cluster.Mark{Value: 0xffff, Mask: 0xffffffff}
	low := cluster.Mark{Value: 0x0f, Mask: 0xff}
	foreignMark := cluster.Mark{Value: 0x0e, Mask: 0xff}
	seeds := setup{action: cluster.Action{Marking: true, Mark: whole}}
	masked := setup{action: cluster.Action{Marking: true, Mark: low, ForeignMark: foreignMark}}
	original, keeping := masked, masked
	original.key, keeping.handover = originalKey, keepUDP
	must(t, loaded.get(t, keeping).plane().Freeze(1, []FrozenFlow{{UDPFlow: kept(families[0], 4000)}}))
	for _, c := range []struct {
		name  string
		with  setup
		frame []byte
		state State
		force inForce
		want  string
		mark  uint32
	}{
		{"owned", seeds, packet, Owned, goodLease, "mark_owned", 0xffff},
		{"foreign", seeds, packet, Foreign, goodLease, "mark_foreign", oldMark},
		{"owned, masked", masked, packet, Owned, goodLease, "mark_owned", oldMark | 0x0f},
		{"foreign, masked", masked, packet, Foreign, goodLease, "mark_foreign", oldMark | 0x0e},
		{"no lease", masked, packet, Owned, inForce{5, 5, 0}, "mark_foreign", oldMark | 0x0e},
		{"older table", masked, packet, Owned, inForce{4, 5, time.Hour}, "mark_foreign", oldMark | 0x0e},
		{"draining", masked, packet, Draining, goodLease, "mark_foreign", oldMark | 0x0e},
		{"draining, syn", masked, eth(toCluster, ipv4(client4, vip4, tcp(4000, 80, syn))), Draining, goodLease, "mark_foreign", oldMark | 0x0e},
		{"held", masked, packet, AcquiringHeld, goodLease, "mark_foreign", oldMark | 0x0e},
		{"kept by the old owner", keeping, packet, Acquiring, goodLease, "mark_foreign", oldMark | 0x0e},
		{"acquiring", masked, packet, Acquiring, goodLease, "mark_owned", oldMark | 0x0f},
		{"untracked", original, reset, Owned, goodLease, "mark_foreign", oldMark | 0x0e},
		{"own MAC", masked, eth(ownMAC, ipv4(client4, own4, udp(4000, 53))), Owned, goodLease, "pass_other", oldMark},
		{"malformed", masked, packet[:40], Owned, goodLease, "drop_malformed", oldMark},
		{"arp, foreign", masked, eth(toCluster, arp(request, clientMAC, client4, noMAC, vip4)), Foreign, goodLease, "drop_arp_foreign", oldMark},
		{"arp, owned", masked, eth(toCluster, arp(request, clientMAC, client4, noMAC, vip4)), Owned, goodLease, "answer_arp", oldMark},
	} {
		r := loaded.get(t, c.with)
		r.share(-1, Foreign, c.state, c.force)
		got := r.run(t, inTCX, c.frame)
		if got.counted != c.want || got.mark != c.mark || got.passed != goesOn(c.want) {
			t.Errorf("%s: %+v, want %s and mark %#x", c.name, got, c.want, c.mark)
		}
		if got.passed && !bytes.Equal(got.out, c.frame) {
			t.Errorf("%s: rewritten", c.name)
		}
	}
}
