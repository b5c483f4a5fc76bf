package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/member"
)

// udpFlow is a flow of one client.
func udpFlow(client int) dataplane.UDPFlow {
	return dataplane.UDPFlow{
		Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(client >> 16), byte(client >> 8), byte(client)}), 4000),
		Server: netip.MustParseAddrPort("192.0.2.10:53"),
	}
}

// oldOwner is a lister and what is around it. Flow i is in bucket i modulo the
// number of buckets.
type oldOwner struct {
	lister
	host   fakeHost
	count  int // flows
	err    error
	reads  int // of all flows
	waited []time.Duration
	clock  time.Duration
	said   []*member.FlowChunk
	logged []string
}

func newOldOwner(states ...dataplane.State) *oldOwner {
	o := &oldOwner{clock: time.Hour, host: fakeHost{epoch: uint64(view.Epoch), states: states}}
	o.lister = lister{noter: newNoter(slog.New(logLines{&o.logged})), table: &o.host,
		flows: func(each func(dataplane.UDPFlow, int)) error {
			o.reads++
			for i := range o.count {
				each(udpFlow(i), i%len(states))
			}
			return o.err
		},
		say:  func(b member.Body) error { o.said = append(o.said, b.(*member.FlowChunk)); return nil },
		now:  func() time.Duration { return o.clock },
		wait: func(d time.Duration) { o.waited = append(o.waited, d); o.clock += d },
	}
	return o
}

var view = member.ViewID{Epoch: 0x501, Digest: member.Digest{1}}

// ask asks, a while after the last time, and returns the answer.
func (o *oldOwner) ask(f member.FlowFetch) (said []*member.FlowChunk) {
	o.clock += time.Second
	o.said = nil
	o.answer(f)
	return o.said
}

// told decodes what chunks say.
func told(t *testing.T, chunks ...*member.FlowChunk) (flows []member.Flow) {
	t.Helper()
	for _, c := range chunks {
		if len(c.Data) > member.ChunkSize {
			t.Errorf("a chunk of %d bytes", len(c.Data))
		}
		if err := member.DecodeFlows(c.Data, func(f member.Flow) { flows = append(flows, f) }); err != nil {
			t.Fatal(err)
		}
	}
	return flows
}

// An old owner tells the flows of what it drains, once for each view.
func TestListerTells(t *testing.T) {
	o := newOldOwner(O, D, F, D, A)
	o.count = 10
	said := o.ask(member.FlowFetch{To: 1, View: view})
	if len(said) != 1 || said[0].View != view || said[0].Total != 1 || said[0].Taken < time.Hour {
		t.Fatalf("said %+v", said)
	}
	var buckets []string
	for _, f := range told(t, said...) {
		buckets = append(buckets, fmt.Sprintf("%v in %d", f.Client, f.Bucket))
	}
	if diff := cmp.Diff([]string{"10.0.0.1:4000 in 1", "10.0.0.3:4000 in 3", "10.0.0.6:4000 in 1", "10.0.0.8:4000 in 3"}, buckets); diff != "" {
		t.Error(diff)
	}
	if !slices.Equal(o.waited, []time.Duration{settleTime}) {
		t.Errorf("waited %v for packets on their way", o.waited)
	}
	o.count = 20
	again := o.ask(member.FlowFetch{To: 1, View: view})
	if o.reads != 1 || again[0].Taken != said[0].Taken || len(told(t, again...)) != 4 {
		t.Errorf("another list: read %d times, %+v", o.reads, again)
	}
	if later := o.ask(member.FlowFetch{To: 1, View: view, After: said[0].Taken}); len(later) != 0 {
		t.Errorf("a later list at once: %+v", later)
	}
	o.clock += relistTime
	later := o.ask(member.FlowFetch{To: 1, View: view, After: said[0].Taken})
	if len(later) != 1 || later[0].Taken <= said[0].Taken || len(told(t, later...)) != 8 || len(o.waited) != 1 {
		t.Errorf("a later list: %+v", later)
	}
}

// Nothing is said of a view that the node does not act on, or no more.
func TestListerWaitsForItsTable(t *testing.T) {
	o := newOldOwner(D)
	o.count = 1
	o.host.epoch--
	if said := o.ask(member.FlowFetch{To: 1, View: view}); len(said) != 0 || o.reads != 0 {
		t.Errorf("it still acts on the view before: %+v", said)
	}
	o.host.epoch++
	flows := o.flows
	o.flows = func(each func(dataplane.UDPFlow, int)) error { o.host.epoch++; return flows(each) }
	if said := o.ask(member.FlowFetch{To: 1, View: view}); len(said) != 0 {
		t.Errorf("the view changed meanwhile: %+v", said)
	}
	o.flows = flows
	next := member.ViewID{Epoch: view.Epoch + 1}
	if said := o.ask(member.FlowFetch{To: 1, View: next}); len(said) != 1 || said[0].View != next {
		t.Errorf("the next view: %+v", said)
	}
}

// An old owner without flows says so, or the new one would wait.
func TestListerTellsNothing(t *testing.T) {
	o := newOldOwner(D, O)
	if said := o.ask(member.FlowFetch{To: 1, View: view}); len(said) != 1 || said[0].Total != 1 || len(said[0].Data) != 0 {
		t.Errorf("said %+v", said)
	}
}

// Long lists come in bursts, and nobody is told twice what several ask for.
func TestListerBursts(t *testing.T) {
	o := newOldOwner(D)
	o.count = 5000
	var all []*member.FlowChunk
	for from, total := 0, 1; from < total; from += burst {
		said := o.ask(member.FlowFetch{To: 1, View: view, From: uint16(from)})
		total = int(said[0].Total)
		if len(said) > burst || int(said[0].Index) != from {
			t.Fatalf("%d chunks from %d on, for %d", len(said), said[0].Index, from)
		}
		all = append(all, said...)
	}
	if flows := told(t, all...); len(flows) != o.count || len(all) != int(all[0].Total) {
		t.Errorf("%d flows in %d of %d chunks", len(flows), len(all), all[0].Total)
	}
	o.said = nil
	o.clock += resendTime
	o.answer(member.FlowFetch{To: 1, View: view})
	o.clock += resendTime / 2
	o.answer(member.FlowFetch{To: 1, View: view, From: burst / 2})
	if len(o.said) != burst+burst/2 {
		t.Errorf("two that ask at once are told %d chunks", len(o.said))
	}
}

// A list that cannot be made is logged, and made when that goes.
func TestListerFails(t *testing.T) {
	o := newOldOwner(D)
	o.count, o.err = 1, errors.New("no memory")
	for range 2 {
		if said := o.ask(member.FlowFetch{To: 1, View: view}); len(said) != 0 {
			t.Errorf("said %+v", said)
		}
	}
	if len(o.logged) != 1 || !strings.Contains(o.logged[0], "could not list the UDP flows") {
		t.Errorf("logged %q", o.logged)
	}
	o.err = nil
	if said := o.ask(member.FlowFetch{To: 1, View: view}); len(told(t, said...)) != 1 {
		t.Errorf("said %+v", said)
	}
}
