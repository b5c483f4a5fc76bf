package handover

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCountDatagrams(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	changes := []window{{10 * s, 11 * s}, {10500 * ms, 10600 * ms}}
	stalls := []window{{11 * s, 13 * s}, {20 * s, 21 * s}}
	on := func(sent time.Duration, node int) Datagram { return Datagram{sent, 1 << (node - 1), 1, 1} }
	lost := func(sent time.Duration) Datagram { return Datagram{Sent: sent} }
	for name, tt := range map[string]struct {
		flow Flow
		want DatagramCounts
	}{
		"one node": {Flow{on(9*s, 1), on(10*s, 1), on(12*s, 1)}, DatagramCounts{Answered: 3}},
		"lost": {Flow{lost(9 * s), lost(10 * s), lost(11*s + flushTime), lost(11*s + flushTime + 1), lost(11*s + flushTime + holdTime),
			lost(11*s + flushTime + holdTime + 1), lost(13*s + flushTime + 1), on(15*s, 2), lost(19 * s)},
			DatagramCounts{Answered: 1, Changing: 2, Holding: 2, Stalled: 1, Else: 3, InARow: 7}},
		"handled, and not answered":                   {Flow{{Sent: 9 * s, Nodes: 1, Handled: 1}}, DatagramCounts{Else: 1, Taken: 1, InARow: 1}},
		"answered, and nobody knows by whom":          {Flow{{9 * s, 0, 0, 1}}, DatagramCounts{Answered: 1, Unseen: 1}},
		"answered twice":                              {Flow{{9 * s, 1, 1, 2}}, DatagramCounts{Answered: 1, Twice: 1}},
		"handled twice":                               {Flow{{9 * s, 1, 2, 1}}, DatagramCounts{Answered: 1, Twice: 1}},
		"by two nodes, of which one answered":         {Flow{{9 * s, 3, 2, 1}}, DatagramCounts{Answered: 1, Twice: 1}},
		"handled by one node and answered by another": {Flow{{9 * s, 3, 1, 1}}, DatagramCounts{Answered: 1, Twice: 1}},
		"moves with a change":                         {Flow{on(9*s, 1), on(10*s, 2), on(10900*ms, 1), on(12*s, 3)}, DatagramCounts{Answered: 4, Moves: 3}},
		"moves after one that was lost": {Flow{on(9*s, 1), lost(10 * s), on(12*s, 2)},
			DatagramCounts{Answered: 2, Changing: 1, InARow: 1, Moves: 1}},
		"moves before and after all changes": {Flow{on(8*s, 1), on(9*s, 2), on(12*s, 2), on(13*s, 1)},
			DatagramCounts{Answered: 4, Moves: 2, Stray: 2}},
		"moves though nobody answers": {Flow{on(8*s, 1), {Sent: 9 * s, Nodes: 2, Handled: 1}},
			DatagramCounts{Answered: 1, Else: 1, Taken: 1, InARow: 1, Moves: 1, Stray: 1}},
	} {
		tt.want.Flows, tt.want.Sent = 1, len(tt.flow)
		if diff := cmp.Diff(tt.want, countDatagrams([]Flow{tt.flow}, changes, stalls)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	both := countDatagrams([]Flow{{on(9*s, 1)}, {lost(9 * s), on(10*s, 2)}}, changes, stalls)
	if want := (DatagramCounts{Flows: 2, Sent: 3, Answered: 2, Else: 1, InARow: 1}); both != want {
		t.Errorf("two flows: %+v, want %+v", both, want)
	}
}

func TestDatagramIn(t *testing.T) {
	v4 := append([]byte{0x46, 31: 0}, "datagram"...) // with one word of options
	v6 := append([]byte{0x60, 47: 0}, "datagram"...)
	for _, packet := range [][]byte{v4, v6} {
		for n := range len(packet) {
			if got := datagramIn(packet[:n]); len(got) >= stampSize {
				t.Errorf("%x: %q", packet[:n], got)
			}
		}
		if got := datagramIn(packet); !bytes.Equal(got, []byte("datagram")) {
			t.Errorf("%x: %q", packet, got)
		}
	}
}
