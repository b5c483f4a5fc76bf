package main

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestGaps(t *testing.T) {
	const ms = time.Millisecond
	p := &prober{}
	for i, answered := range []bool{true, false, true, true, false, false, true, false, true, true, false} {
		p.sent, p.answered = append(p.sent, time.Duration(i)*ms), append(p.answered, answered)
	}
	for _, c := range []struct {
		name    string
		windows []window
		gaps    sample
		hit     sample
		astray  int
	}{
		{"two gaps in one hand-over: the longest", []window{{3 * ms, 9 * ms}}, sample{3}, sample{3}, 1},
		{"nothing was lost", []window{{2 * ms, 4 * ms}}, sample{0}, sample{0}, 1},
		{"a gap that begins with the hand-over, one that does not end with it", []window{{4 * ms, 7 * ms}, {8 * ms, 11 * ms}},
			sample{3, 2}, sample{2, 1}, 2},
	} {
		r := p.result(c.windows)
		got := []any{r.gaps, r.hit, r.astray, r.sent, r.every}
		if diff := cmp.Diff([]any{c.gaps, c.hit, c.astray, 11, ms}, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.name, diff)
		}
	}
}

// TestProbeChecksum: all words of a segment and its pseudo header add up to
// ones (RFC 1071).
func TestProbeChecksum(t *testing.T) {
	p := &prober{fixed: 0x1ffff}
	for _, n := range []uint32{0, 1, 0xffff, 0xffffffff, 0x12345678} {
		p.number(n)
		sum := p.fixed + n>>16 + n&0xffff + uint32(binary.BigEndian.Uint16(p.segment[16:]))
		for sum > 0xffff {
			sum = sum>>16 + sum&0xffff
		}
		if sum != 0xffff {
			t.Errorf("number %#x: the words add up to %#x", n, sum)
		}
	}
}
