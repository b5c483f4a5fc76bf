package lab

import (
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestEvenness(t *testing.T) {
	for _, test := range []struct {
		requests []int64
		shares   []float64
		want     Evenness
	}{
		{nil, []float64{}, Evenness{}},
		{[]int64{0, 0}, []float64{0, 0}, Evenness{Even: 0.5}},
		{[]int64{7}, []float64{1}, Evenness{Even: 1, Min: 1, Max: 1}},
		{[]int64{25, 75}, []float64{0.25, 0.75}, Evenness{Even: 0.5, Min: 0.25, Max: 0.75}},
		{[]int64{0, 30, 30, 60}, []float64{0, 0.25, 0.25, 0.5}, Evenness{Even: 0.25, Min: 0, Max: 0.5}},
	} {
		shares, e := evenness(test.requests)
		if diff := cmp.Diff(test.shares, shares, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
			t.Errorf("%v: %s", test.requests, diff)
		}
		if diff := cmp.Diff(test.want, e, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
			t.Errorf("%v: %s", test.requests, diff)
		}
	}
}

func TestTally(t *testing.T) {
	p := plan{Options{Nodes: 2, Clients: 2, Families: IPv4}}
	one, two := p.clients()[0], p.clients()[1]
	tl := newTally(p)
	add := func(kind Kind, client netip.Addr, answers int, nodes uint64, err error) {
		tl.add(&request{kind: kind, key: key{kind.protocol(), client, 9000}, target: p.targets()[0],
			answers: answers, nodes: nodes, rtt: time.Millisecond}, err)
	}
	add(TCP, one, 1, 0b01, nil)
	add(UDP, one, 1, 0b01, nil)
	add(UDP, one, 2, 0b11, nil)                        // two nodes answered
	add(HTTP, two, 1, 0b11, nil)                       // two had it, one answered
	add(Ping, two, 0, 0, errors.New("out of time"))    // lost
	add(Ping, two, 0, 0b10, errors.New("no way back")) // handled, not answered
	add(Ping, two, 2, 0b10, nil)                       // one node answered twice
	add(TCP, two, 1, 0, nil)                           // answered by who knows whom
	r := tl.report()

	want := Counts{Requests: 8, Once: 3, None: 2, Twice: 2, Overlaps: 2, Unknown: 1}
	if r.Counts != want {
		t.Errorf("counts %+v, want %+v", r.Counts, want)
	}
	if r.OK() {
		t.Error("a report with faults is OK")
	}
	if got, want := r.Kinds[UDP].Counts, (Counts{Requests: 2, Once: 1, Twice: 1, Overlaps: 1}); got != want {
		t.Errorf("UDP %+v, want %+v", got, want)
	}
	if got, want := []int64{r.Nodes[0].Requests, r.Nodes[1].Requests}, []int64{4, 4}; !cmp.Equal(got, want) {
		t.Errorf("requests by node %v, want %v", got, want)
	}
	if r.Nodes[0].Clients != 2 || r.Nodes[1].Clients != 2 {
		t.Errorf("clients by node %d, %d, want 2, 2", r.Nodes[0].Clients, r.Nodes[1].Clients)
	}
	if diff := cmp.Diff([]int{1, 2}, r.Clients[0].Nodes); diff != "" {
		t.Error(diff)
	}
	if len(r.Faults) != 5 || !strings.Contains(r.Faults[0], "handled by node1 and node2") ||
		!strings.Contains(r.Faults[2], "out of time") {
		t.Errorf("faults %q", r.Faults)
	}
}

func TestOK(t *testing.T) {
	for _, test := range []struct {
		c    Counts
		want bool
	}{
		{Counts{}, false}, // nothing asked shows nothing
		{Counts{Requests: 2, Once: 2}, true},
		{Counts{Requests: 2, Once: 1, None: 1}, false},
		{Counts{Requests: 2, Once: 1, Twice: 1}, false},
		{Counts{Requests: 2, Once: 1, Overlaps: 1}, false},
	} {
		if got := test.c.OK(); got != test.want {
			t.Errorf("%+v: OK is %v", test.c, got)
		}
	}
}

func TestReportAsJSON(t *testing.T) {
	p := plan{Options{Nodes: 1, Clients: 1, Families: IPv6}}
	tl := newTally(p)
	tl.add(&request{kind: Ping, key: key{protoICMP, p.clients()[0], 9000}, answers: 1, nodes: 1, rtt: time.Millisecond}, nil)
	b, err := json.Marshal(tl.report())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"requests":1,"once":1,"none":0,"twice":0,"overlaps":0`, `"kinds":{"ping":{"requests":1`,
		`"address":"fd77::1:1","nodes":[1]`, `"faults":[]`, `"p50_us":`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s\nhas no %s", b, want)
		}
	}
	var back Report
	if err := json.Unmarshal(b, &back); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(tl.report().Kinds, back.Kinds); diff != "" {
		t.Error(diff)
	}
}

func TestTableIsAtMost80Wide(t *testing.T) {
	tl := newTally(plan{Options{Nodes: 64, Clients: 1, Families: IPv4}})
	for line := range strings.Lines(tl.report().Table()) {
		if n := len(strings.TrimRight(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestHistogramQuantiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(1, 3_000_000), 1, 200).Draw(t, "µs")
		q := rapid.Float64Range(0.01, 1).Draw(t, "q")
		var h histogram
		for _, v := range values {
			h.add(time.Duration(v) * time.Microsecond)
		}
		sorted := append([]int64{}, values...)
		for i := range sorted {
			for j := i; j > 0 && sorted[j] < sorted[j-1]; j-- {
				sorted[j], sorted[j-1] = sorted[j-1], sorted[j]
			}
		}
		want := float64(sorted[int(math.Ceil(q*float64(len(sorted))))-1])
		if got := h.quantile(q); math.Abs(got-want)/want > 0.021 {
			t.Fatalf("quantile %v is %v, want %v", q, got, want)
		}
	})
	if got := new(histogram).quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing is %v", got)
	}
}
