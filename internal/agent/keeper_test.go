package agent

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/flows"
)

const (
	F = dataplane.Foreign
	O = dataplane.Owned
	A = dataplane.Acquiring
	D = dataplane.Draining
)

// fakeHost is a kernel's flows and a data plane's table.
type fakeHost struct {
	counts    []int // flows by bucket
	udp       []int // buckets of UDP flows
	states    []dataplane.State
	later     []dataplane.State // as Table's caller finds them when it asks again; nil: the same
	epoch     uint64
	asleep    bool
	err       error
	destroyed []int
	forgot    []int
	forgotten int // times that unresolved neighbours were
}

func (h *fakeHost) Count(counts []int) ([]int, error) { return append(counts[:0], h.counts...), h.err }

func (h *fakeHost) Destroy(in func(int) bool) (n int, err error) {
	if h.err != nil {
		return 0, h.err
	}
	for b := range h.counts {
		if h.counts[b] > 0 && in(b) {
			h.destroyed = append(h.destroyed, b)
			n += h.counts[b]
			h.counts[b] = 0
		}
	}
	return n, nil
}

func (h *fakeHost) Table() (uint64, []dataplane.State, bool) {
	return h.epoch, append([]dataplane.State(nil), h.states...), !h.asleep
}

func (h *fakeHost) State(b int) dataplane.State {
	if h.later != nil {
		return h.later[b]
	}
	return h.states[b]
}

func (h *fakeHost) UDPFlows(each func(dataplane.UDPFlow, int, time.Duration)) error {
	for _, b := range h.udp {
		each(dataplane.UDPFlow{}, b, 0)
	}
	return nil
}

func (h *fakeHost) ForgetUDP(foreign func(int) bool) error {
	for b := range h.counts {
		if foreign(b) {
			h.forgot = append(h.forgot, b)
		}
	}
	return nil
}

func keeperOf(h *fakeHost, limit time.Duration) (*keeper, *[]string, *[][]int) {
	var logged []string
	var told [][]int
	k := newKeeper(h, h, limit, slog.New(logLines{&logged}))
	k.unresolved = func() error { return nil }
	k.report = func(epoch uint64, empty []int) error {
		told = append(told, append([]int{int(epoch)}, empty...))
		return nil
	}
	return k, &logged, &told
}

// logLines keeps messages only.
type logLines struct{ lines *[]string }

func (l logLines) Enabled(context.Context, slog.Level) bool { return true }
func (l logLines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l logLines) WithGroup(string) slog.Handler            { return l }
func (l logLines) Handle(_ context.Context, r slog.Record) error {
	*l.lines = append(*l.lines, r.Message)
	return nil
}

// looks lets the keeper look once a second.
func looks(k *keeper, times int) {
	start := time.Unix(1000, 0)
	for i := range times {
		k.look(start.Add(time.Duration(i) * countInterval))
	}
}

// A bucket is empty after some counts without flows; TCP and UDP count.
func TestKeeperCounts(t *testing.T) {
	h := &fakeHost{epoch: 5, states: []dataplane.State{D, D, D, O, F, A}, counts: []int{0, 1, 0, 7, 0, 0}, udp: []int{2, 3}}
	k, _, told := keeperOf(h, time.Hour)
	looks(k, flows.Quiet-1)
	if len(*told) != 0 {
		t.Errorf("too early: %v", *told)
	}
	looks(k, 1)
	if diff := cmp.Diff([][]int{{5, 0}}, *told); diff != "" {
		t.Error(diff)
	}
	h.udp = nil
	looks(k, flows.Quiet)
	if last := (*told)[len(*told)-1]; !cmp.Equal(last, []int{5, 0, 2}) {
		t.Errorf("told %v", last)
	}
	if len(h.destroyed) != 0 {
		t.Errorf("destroyed flows of %v", h.destroyed)
	}
}

// Flows that do not end are given up: also where they cannot be counted.
func TestKeeperLimit(t *testing.T) {
	for _, err := range []error{nil, errors.New("no such kernel")} {
		h := &fakeHost{epoch: 5, states: []dataplane.State{D, O}, counts: []int{1, 1}}
		k, _, told := keeperOf(h, 10*countInterval)
		looks(k, 1)
		h.err = err
		looks(k, 10)
		if len(*told) != 0 {
			t.Errorf("%v: too early: %v", err, *told)
		}
		looks(k, 11)
		if diff := cmp.Diff([][]int{{5, 0}}, *told); diff != "" {
			t.Errorf("%v: %s", err, diff)
		}
		if !cmp.Equal(h.forgot, []int{0}) {
			t.Errorf("%v: UDP of bucket 0 is not forgotten first, but %v", err, h.forgot)
		}
		if len(h.destroyed) != 0 {
			t.Errorf("destroyed flows of buckets that are not foreign: %v", h.destroyed)
		}
		h.err, h.states = nil, []dataplane.State{F, O}
		looks(k, 1)
		if !cmp.Equal(h.destroyed, []int{0}) || !cmp.Equal(h.forgot[len(h.forgot)-1:], []int{0}) {
			t.Errorf("destroyed %v, forgot %v", h.destroyed, h.forgot)
		}
	}
}

// What is left in buckets that have become foreign is destroyed once, and only
// under a table that the node acts on.
func TestKeeperDestroys(t *testing.T) {
	h := &fakeHost{states: []dataplane.State{O, O, D, F}, counts: []int{1, 1, 1, 1}}
	k, logged, _ := keeperOf(h, time.Hour)
	looks(k, 1)
	if !cmp.Equal(h.destroyed, []int{3}) {
		t.Errorf("at the first look: %v", h.destroyed)
	}
	h.states, h.asleep = []dataplane.State{F, F, F, F}, true
	looks(k, 2)
	if !cmp.Equal(h.destroyed, []int{3}) {
		t.Errorf("without a lease: %v", h.destroyed)
	}
	h.asleep, h.later = false, []dataplane.State{O, F, F, F}
	looks(k, 1)
	if !cmp.Equal(h.destroyed, []int{3, 1, 2}) {
		t.Errorf("when a bucket came back at that moment: %v", h.destroyed)
	}
	h.later, h.counts = nil, []int{1, 1, 1, 1}
	looks(k, 2)
	if !cmp.Equal(h.destroyed, []int{3, 1, 2}) {
		t.Errorf("nothing has changed: %v", h.destroyed)
	}
	h.states = []dataplane.State{O, F, F, F}
	looks(k, 1)
	h.states, h.err = []dataplane.State{F, F, F, F}, errors.New("no memory")
	before := len(*logged)
	looks(k, 3)
	if n := len(*logged) - before; n != 1 {
		t.Errorf("logged %q", (*logged)[before:])
	}
	h.err = nil
	looks(k, 1)
	if !cmp.Equal(h.destroyed, []int{3, 1, 2, 0, 1, 2, 3}) {
		t.Errorf("not tried again: %v", h.destroyed)
	}
}

// A sweep destroys all there is, and is answered when that is done, and when the
// resets of what it destroyed wait for no neighbour any more.
func TestKeeperSweeps(t *testing.T) {
	h := &fakeHost{states: []dataplane.State{F, F}, counts: []int{3, 1}, asleep: true}
	k, logged, _ := keeperOf(h, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	answers := make(chan int, 3)
	k.unresolved = func() error {
		if !cmp.Equal(h.destroyed, []int{0, 1}) || len(answers) != 0 {
			t.Errorf("neighbours are forgotten after %v were destroyed and %d answers", h.destroyed, len(answers))
		}
		h.forgotten++
		return errors.New("no such interface")
	}
	for i := range 3 { // the newest stands for all
		k.sweep(func() error { answers <- i; return errors.New("it has ended") })
	}
	ended := make(chan struct{})
	go func() { defer close(ended); k.run(ctx) }()
	if got := <-answers; got != 2 {
		t.Errorf("answered sweep %d", got)
	}
	cancel()
	<-ended
	if !cmp.Equal(h.destroyed, []int{0, 1}) || len(answers) != 0 || h.forgotten != 1 {
		t.Errorf("destroyed %v, %d more answers, neighbours forgotten %d times", h.destroyed, len(answers), h.forgotten)
	}
	if text := strings.Join(*logged, "\n"); !strings.Contains(text, "could not answer") || !strings.Contains(text, "could not forget") {
		t.Errorf("logged %q", text)
	}

	h.err = errors.New("no such kernel")
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	k.sweep(func() error { t.Error("answered, though flows are left"); return nil })
	for len(k.sweeps) > 0 { // either may be taken first
		k.run(ctx)
	}
	k.run(ctx)
}
