package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-net/shoal/internal/heartbeat"
)

// fakeStation is an agent of three nodes that agree at once, unless they are
// deaf, and of which a drained one hands some buckets over at every look.
type fakeStation struct {
	m         heartbeat.Status
	deaf      bool
	step      int // buckets that are handed over between two looks
	orders    []order
	withdrawn []int
	lost      error // instead of an answer, from the second look on
	looks     int
}

func newStation() *fakeStation {
	s := &fakeStation{step: 500}
	s.m = heartbeat.Status{State: "serving", View: &heartbeat.ViewStatus{Voters: []int{1, 2, 3}}}
	for i, name := range []string{"alpha", "beta", "gamma"} {
		s.m.Nodes = append(s.m.Nodes, heartbeat.NodeStatus{ID: i + 1, Name: name, Self: i == 0, Present: true, State: "serving", Weight: 100, Buckets: 1000})
	}
	return s
}

func (s *fakeStation) node(id int) *heartbeat.NodeStatus { return &s.m.Nodes[id-1] }

func (s *fakeStation) Members() (*heartbeat.Status, error) {
	if s.looks++; s.lost != nil && s.looks > 1 {
		return nil, s.lost
	}
	for i := range s.m.Nodes {
		if n := &s.m.Nodes[i]; n.DrainedBy != 0 {
			n.Draining, n.Buckets = max(0, n.Draining+n.Buckets-s.step), 0
		}
	}
	m := s.m
	m.Nodes = append([]heartbeat.NodeStatus(nil), s.m.Nodes...)
	return &m, nil
}

func (s *fakeStation) Order(o order) error {
	s.orders = append(s.orders, o)
	if s.deaf {
		return nil
	}
	switch n := s.node(o.node); o.kind {
	case drain:
		n.DrainedBy = 1
	case undrain:
		n.DrainedBy = 0
	case setWeight:
		n.Weight, n.Ordered, n.OrderedBy = o.weight, o.weight, 1
	case resetWeight:
		n.Weight, n.Ordered, n.OrderedBy = 100, 0, 0
	}
	return nil
}

func (s *fakeStation) Withdraw(node int) error {
	s.withdrawn = append(s.withdrawn, node)
	return nil
}

func carry(s *fakeStation, o orderOptions, node string, what order) (out, errs string, err error) {
	var outBuf, errBuf bytes.Buffer
	if o.output == "" {
		o.output = "text"
	}
	err = o.carryOut(context.Background(), &Env{Stdout: &outBuf, Stderr: &errBuf}, s, node, what)
	return outBuf.String(), errBuf.String(), err
}

func TestOrdersInWords(t *testing.T) {
	weigh := order{kind: setWeight, weight: 50}
	for name, test := range map[string]struct {
		prepare func(*fakeStation)
		options orderOptions
		what    order
		want    string
		given   int // orders
	}{
		"drain":         {what: order{kind: drain}, want: "beta is drained: it has no buckets and no flows of them\n", given: 1},
		"drain no wait": {options: orderOptions{noWait: true}, what: order{kind: drain}, want: "beta is being drained: 500 buckets with flows left\n", given: 1},
		"drain again": {prepare: func(s *fakeStation) { s.node(2).DrainedBy = 3 }, what: order{kind: drain},
			want: "beta is drained already, asked for on gamma: it has no buckets and no flows of them\n"},
		"undrain":        {prepare: func(s *fakeStation) { s.node(2).DrainedBy, s.step = 3, 0 }, what: order{kind: undrain}, want: "beta is drained no more: it has 0 buckets\n", given: 1},
		"undrain again":  {what: order{kind: undrain}, want: "beta is not drained: it has 1000 buckets\n"},
		"weight":         {what: weigh, want: "beta has weight 50, and 1000 buckets\n", given: 1},
		"weight again":   {prepare: func(s *fakeStation) { n := s.node(2); n.Weight, n.Ordered, n.OrderedBy = 50, 50, 3 }, what: weigh, want: "beta has weight 50 already, asked for on gamma, and 1000 buckets\n"},
		"weight of file": {prepare: func(s *fakeStation) { s.node(2).OrderedBy = 3 }, what: order{kind: resetWeight}, want: "beta has the weight of its file, 100, and 1000 buckets\n", given: 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStation()
			if test.prepare != nil {
				test.prepare(s)
			}
			got, _, err := carry(s, test.options, "beta", test.what)
			if diff := cmp.Diff(test.want, got); err != nil || diff != "" || len(s.orders) != test.given {
				t.Errorf("%v, %d orders, want %d: %s", err, len(s.orders), test.given, diff)
			}
		})
	}
}

func TestOrderAsJSON(t *testing.T) {
	out, _, err := carry(newStation(), orderOptions{output: "json"}, "2", order{kind: drain})
	var got orderResult
	if jsonErr := json.Unmarshal([]byte(out), &got); err != nil || jsonErr != nil {
		t.Fatal(err, jsonErr)
	}
	got.Seconds = 0
	want := orderResult{Order: drain, Node: 2, Name: "beta", Weight: 100, Changed: true, AskedOn: "alpha", Complete: true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOrdersRefused(t *testing.T) {
	alone := func(s *fakeStation) { s.node(1).DrainedBy, s.node(1).Weight, s.node(3).Present = 1, 0, false }
	for name, test := range map[string]struct {
		prepare func(*fakeStation)
		node    string
		what    order
		want    string
	}{
		"no such node":     {func(*fakeStation) {}, "delta", order{kind: drain}, `there is no node "delta"; there are alpha (1), beta (2), gamma (3)`},
		"nobody else":      {alone, "beta", order{kind: drain}, "no node but beta serves"},
		"weight 0, alone":  {alone, "beta", order{kind: setWeight}, "no node but beta serves"},
		"votes only":       {func(s *fakeStation) { s.node(2).VotesOnly = true }, "beta", order{kind: drain}, "beta only votes"},
		"agent is missing": {func(s *fakeStation) { s.looks, s.lost = 1, errors.New("the agent does not run") }, "beta", order{kind: drain}, "the agent does not run"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStation()
			test.prepare(s)
			if _, _, err := carry(s, orderOptions{}, test.node, test.what); err == nil || !strings.Contains(err.Error(), test.want) || len(s.orders) > 0 {
				t.Errorf("%v, %d orders, want %q", err, len(s.orders), test.want)
			}
		})
	}
	s := newStation()
	alone(s)
	if _, _, err := carry(s, orderOptions{force: true, noWait: true}, "beta", order{kind: drain}); err != nil {
		t.Errorf("--force: %v", err)
	}
}

// An order that no view takes is withdrawn, and the reason is told.
func TestOrderWithdrawn(t *testing.T) {
	s := newStation()
	s.deaf = true
	s.node(2).Present, s.node(3).Present = false, false
	_, changed, err := order{kind: undrain, node: 2}.give(t.Context(), s, 50*time.Millisecond)
	want := "no view had it within 50ms, so it was withdrawn: no majority: of 3 voters this node does not hear beta, gamma"
	if changed || err == nil || err.Error() != want || !cmp.Equal(s.withdrawn, []int{2}) {
		t.Errorf("%v, withdrawn %v, want %s", err, s.withdrawn, want)
	}
}

// Who does not wait to the end leaves the drain in force.
func TestDrainWaits(t *testing.T) {
	s := newStation()
	s.step = 0
	_, errs, err := carry(s, orderOptions{timeout: 50 * time.Millisecond}, "beta", order{kind: drain})
	want := "not complete after 50ms: 0 of 1000 buckets handed over, 1000 with flows left; the drain goes on (`shoal drain` waits again, `shoal undrain` ends it)"
	if err == nil || err.Error() != want || errs != "beta: 0 of 1000 buckets handed over, 1000 with flows left\n" || len(s.withdrawn) > 0 {
		t.Errorf("%v, %q, want %s", err, errs, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := awaitDrain(ctx, s, 2, 1000, 0, func(drainProgress) {}); !errors.Is(err, errInterrupted) {
		t.Errorf("interrupted: %v", err)
	}
	s.node(2).DrainedBy = 0
	if _, err := awaitDrain(t.Context(), s, 2, 1000, 0, func(drainProgress) {}); err == nil || err.Error() != "somebody has ended the drain of beta" {
		t.Errorf("undrained meanwhile: %v", err)
	}
}

func TestDrainBar(t *testing.T) {
	p := drainProgress{total: 1000, owned: 0, left: 250}
	if got := p.bar(); !strings.Contains(got, "]  75 %, 750 of 1000 buckets handed over, 250 with flows left") || !strings.HasPrefix(got, "[###") {
		t.Errorf("%q", got)
	}
}
