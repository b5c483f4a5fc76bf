//go:build privileged

package dataplane

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// row is a frame and what becomes of it, by who owns the bucket that it is in.
// What a row expects of the owner it also expects to end with the lease.
type row struct {
	name    string
	with    setup
	frame   []byte
	key     key     // the bucket that decides; nil: none does
	want    string  // the counters that move when this node owns that bucket
	foreign string  // when another node owns it, and this one all others; "": the same
	out     rewrite // how the frame goes on
}

// rewrite is what XDP and TCX change in a frame that goes on.
type rewrite int

const (
	asItCame  rewrite = iota
	toHostMAC         // XDP: destination; TCX: nothing, it sets the packet type
	toHostARP         // both: also the target of an ARP packet
)

func (w rewrite) apply(k kind, frame []byte) []byte {
	out := slices.Clone(frame)
	if w != asItCame && k == inXDP {
		copy(out, ownMAC[:])
	}
	if w == toHostARP {
		copy(out[14+18:], ownMAC[:])
	}
	return out
}

// family is the addresses of one IP version, so that a row is written once.
type family struct {
	name                                             string
	v6                                               bool
	client, vip, server, own, peer, router, otherVIP netip.Addr
}

var families = []family{
	{"v4", false, client4, vip4, server4, own4, peer4, router4, other4},
	{"v6", true, client6, vip6, server6, own6, peer6, router6, other6},
}

// both makes the rows of both families.
func both(rows func(f family) []row) []row {
	var all []row
	for _, f := range families {
		for _, r := range rows(f) {
			r.name = f.name + " " + r.name
			all = append(all, r)
		}
	}
	return all
}

// rigs are loaded once per setup.
type rigs map[setup]*rig

func (rs rigs) get(t testing.TB, s setup) *rig {
	if rs[s] == nil {
		rs[s] = newRig(t, s)
	}
	return rs[s]
}

// takesSKB reports whether a test run builds an skb of the frame: the kernel
// refuses frames without a whole IP header, and those longer than a page.
// TestTCXOnWire has them.
func takesSKB(frame []byte) bool {
	shortest := 14
	switch be.Uint16(frame[12:]) {
	case 0x0800:
		shortest += 20
	case 0x86dd:
		shortest += 40
	}
	return len(frame) >= shortest && len(frame) <= 3000
}

// lapses reports whether what was counted needs a lease.
func lapses(counted string) bool {
	for _, prefix := range []string{"handle_", "answer_"} {
		if strings.HasPrefix(counted, prefix) {
			return true
		}
	}
	return false
}

func TestIngressTable(t *testing.T) {
	enterNamespace(t)
	loaded := make(rigs)
	rows := slices.Concat(flowRows(), fragmentRows(), errorRows(), otherRows(), malformedRows(),
		arpRows(), ndRows(), heartbeatRows())
	names := make(map[string]bool)
	for _, row := range rows {
		if names[row.name] {
			t.Errorf("two rows %q", row.name)
		}
		names[row.name] = true
		r := loaded.get(t, row.with)
		for _, k := range []kind{inXDP, inTCX} {
			if k == inTCX && !takesSKB(row.frame) {
				continue
			}
			row.check(t, r, k)
		}
	}
	t.Logf("%d rows, %d sets of constants", len(rows), len(loaded))
}

// check runs a row through one program under every table and lease.
func (row row) check(t *testing.T, r *rig, k kind) {
	t.Helper()
	foreign := row.foreign
	if foreign == "" {
		foreign = row.want
	}
	noLease, stale := row.want, row.want
	if lapses(row.want) {
		noLease, stale = "drop_no_lease", "drop_stale_table"
	}
	bucket := r.bucket(row.key)
	for _, c := range []struct {
		name         string
		mine, others State
		force        inForce
		want         string
	}{
		{"owned", Owned, Foreign, goodLease, row.want},
		{"newer table", Owned, Foreign, inForce{6, 5, time.Hour}, row.want},
		{"foreign", Foreign, Owned, goodLease, foreign},
		{"no lease yet", Owned, Foreign, inForce{5, 5, 0}, noLease},
		{"lease over", Owned, Foreign, inForce{5, 5, -time.Millisecond}, noLease},
		{"older table", Owned, Foreign, inForce{4, 5, time.Hour}, stale},
	} {
		r.share(bucket, c.mine, c.others, c.force)
		got := r.run(t, k, row.frame)
		if got.counted != c.want {
			t.Errorf("%s, %s, %s: counted %q, want %q", row.name, k, c.name, got.counted, c.want)
			continue
		}
		row.checkOut(t, k, c.name, got)
	}
}

// goesOn says by the name of a verdict whether the frame goes on.
func goesOn(counted string) bool {
	return !strings.Contains(counted, "drop_") && !strings.HasPrefix(counted, "heartbeat")
}

func (row row) checkOut(t *testing.T, k kind, name string, got result) {
	t.Helper()
	if got.passed != goesOn(got.counted) {
		t.Errorf("%s, %s, %s: %s, but passed: %t", row.name, k, name, got.counted, got.passed)
	}
	if !got.passed {
		return
	}
	if want := row.out.apply(k, row.frame); !bytes.Equal(got.out, want) {
		t.Errorf("%s, %s, %s: out\n%s want\n%s", row.name, k, name, hex.Dump(got.out), hex.Dump(want))
	}
	if k == inTCX && got.mark != oldMark {
		t.Errorf("%s, %s, %s: mark %#x", row.name, k, name, got.mark)
	}
}
