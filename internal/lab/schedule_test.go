package lab

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shoal-net/shoal/internal/cluster"
)

func TestParseTimed(t *testing.T) {
	for _, test := range []struct {
		kind FaultKind
		text string
		want Timed
	}{
		{KillAgent, "2@3s", Timed{Fault{Kind: KillAgent, Nodes: []int{2}}, 3 * time.Second, 0}},
		{Unplug, "1, 3@500ms-2s", Timed{Fault{Kind: Unplug, Nodes: []int{1, 3}}, time.Second / 2, 2 * time.Second}},
		{Partition, "1,2/3@0s", Timed{Fault: Fault{Kind: Partition, Groups: [][]int{{1, 2}, {3}}}}},
		{Weigh, "1,2:50@4s", Timed{Fault{Kind: Weigh, Nodes: []int{1, 2}, Weight: 50}, 4 * time.Second, 0}},
	} {
		got, err := ParseTimed(test.kind, test.text)
		if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
			t.Errorf("%q: %v %s", test.text, err, diff)
		}
	}
	for text, want := range map[string]string{
		"2":         "does not say when",
		"2@three":   "invalid duration",
		"2@3s-x":    "invalid duration",
		"2@3s-3s":   "ends before it begins",
		"two@3s":    `"two" is no node's number`,
		"@3s":       `"" is no node's number`,
		"1/2@3s":    "only a partition has groups",
		"1,2,@3s":   `"" is no node's number`,
		"1@1s-2s-3": "unknown unit",
	} {
		if _, err := ParseTimed(KillAgent, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, err := ParseTimed(Partition, "1,2@3s"); err == nil {
		t.Error("a partition into one group: no error")
	}
}

func TestTimedInWords(t *testing.T) {
	for want, timed := range map[string]Timed{
		"unplug 1 3 after 2s, until 3s":     {Fault{Kind: Unplug, Nodes: []int{1, 3}}, 2 * time.Second, 3 * time.Second},
		"partition 1 2 / 3 after 500ms":     {Fault{Kind: Partition, Groups: [][]int{{1, 2}, {3}}}, time.Second / 2, 0},
		"weight 2: 50 after 4s":             {Fault{Kind: Weigh, Nodes: []int{2}, Weight: 50}, 4 * time.Second, 0},
		"restart-all  after 1s, until 1m0s": {Fault{Kind: RestartAll}, time.Second, time.Minute},
	} {
		if got := timed.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestCheckFault(t *testing.T) {
	backend := Options{Nodes: 3}
	gateway := Options{Nodes: 3, Mode: cluster.Gateway}
	for _, test := range []struct {
		o    Options
		f    Fault
		want string // "": none
	}{
		{backend, Fault{Kind: KillAgent, Nodes: []int{1, 3}}, ""},
		{backend, Fault{Kind: KillAgent}, "of which node"},
		{backend, Fault{Kind: KillAgent, Nodes: []int{4}}, "no node 4"},
		{backend, Fault{Kind: KillAgent, Nodes: []int{0}}, "no node 0"},
		{backend, Fault{Kind: Partition, Groups: [][]int{{1, 2}, {2, 3}}}, "node 2 is named twice"},
		{backend, Fault{Kind: Partition, Groups: [][]int{{1, 2}}}, "two groups or more"},
		{backend, Fault{Kind: Partition, Groups: [][]int{{1}, {2}}, Clients: 3}, "clients with one of them"},
		{backend, Fault{Kind: Loss, Percent: 101}, "is not from 0 to 100"},
		{backend, Fault{Kind: Loss, Percent: 30}, ""},
		{backend, Fault{Kind: Weigh, Nodes: []int{1}, Weight: 1001}, "is not from 0 to 1000"},
		{backend, Fault{Kind: Weigh, Weight: 10}, "of which node"},
		{backend, Fault{Kind: Drain, Nodes: []int{2}}, ""},
		{backend, Fault{Kind: Mute, Nodes: []int{1}, Sides: ServerSide}, "no server side"},
		{gateway, Fault{Kind: Mute, Nodes: []int{1}, Sides: ServerSide}, ""},
		{gateway, Fault{Kind: RestartAll}, ""},
	} {
		err := test.o.CheckFault(test.f)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.f, err, test.want)
		}
	}
}

func TestCuts(t *testing.T) {
	p := plan{Options{Nodes: 3, Clients: 1, Mode: cluster.Gateway}}
	for _, test := range []struct {
		f    Fault
		want []cut
	}{
		{Fault{Kind: Mute, Nodes: []int{2}}, []cut{{from: []string{"node2-c", "node2-s"}, percent: 100}}},
		{Fault{Kind: Deaf, Nodes: []int{2, 3}, Sides: ServerSide}, []cut{{to: []string{"node2-s", "node3-s"}, percent: 100}}},
		{Fault{Kind: Loss, Percent: 5}, []cut{{percent: 5}}},
		{Fault{Kind: Partition, Groups: [][]int{{1}, {2}}, Clients: 2}, []cut{
			{[]string{"node1-c", "node1-s"}, []string{"node2-c", "node2-s", "clients", "server"}, 100},
			{[]string{"node2-c", "node2-s", "clients", "server"}, []string{"node1-c", "node1-s"}, 100},
		}},
	} {
		if diff := cmp.Diff(test.want, p.cuts(test.f), cmp.AllowUnexported(cut{})); diff != "" {
			t.Errorf("%+v: %s", test.f, diff)
		}
	}
}

// A monitor of one client whose echoes are told by marks: + was answered by node
// 1, 2 by node 2, - was not, x could not be sent, D reached two nodes.
func monitorOf(marks string) *Monitor {
	m := &Monitor{start: time.Now().Add(-time.Duration(len(marks)) * time.Millisecond), Interval: time.Millisecond}
	c := &watched{addr: clientSegment.hosts(IPv4, 257)[0]}
	for i, mark := range marks {
		e := echo{sent: time.Duration(i) * time.Millisecond}
		switch mark {
		case '+':
			e.answers, e.there = 1, 1
		case '2':
			e.answers, e.there = 1, 2
		case 'D':
			e.answers, e.there = 2, 3
		case 'x':
			e.failed = true
		}
		c.echoes = append(c.echoes, e)
	}
	m.clients = []*watched{c}
	return m
}

func TestGaps(t *testing.T) {
	type gap struct{ from, to, lost, before, after int } // ms from the start; to -1: open
	for _, test := range []struct {
		marks    string
		from, to int
		want     []gap
	}{
		{"++++++++++", 0, 10, nil},
		{"++---222++", 0, 10, []gap{{1, 5, 3, 1, 2}}},
		{"++---+++++", 5, 10, nil},                    // was over
		{"++---+++++", 3, 10, []gap{{1, 5, 3, 1, 1}}}, // goes on
		{"++---+++++", 0, 2, nil},                     // had not begun
		{"++---+++++", 0, 3, []gap{{1, 5, 3, 1, 1}}},  // had
		{"++-x-+++-+", 0, 10, []gap{{1, 5, 2, 1, 1}, {7, 9, 1, 1, 1}}},
		{"--++", 0, 4, []gap{{0, 2, 2, 0, 1}}},
		{"++--", 0, 4, []gap{{1, -1, 2, 1, 0}}},
		{"++xx", 0, 4, nil},
	} {
		m := monitorOf(test.marks)
		at := func(n int) time.Time { return m.start.Add(time.Duration(n) * time.Millisecond) }
		var got []gap
		for _, g := range m.Gaps(at(test.from), at(test.to)) {
			to := -1
			if !g.To.IsZero() {
				to = int(g.To.Sub(m.start) / time.Millisecond)
			}
			got = append(got, gap{int(g.From.Sub(m.start) / time.Millisecond), to, g.Lost, g.Before, g.After})
		}
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(gap{})); diff != "" {
			t.Errorf("%s from %d to %d: %s", test.marks, test.from, test.to, diff)
		}
	}
}

func TestSteady(t *testing.T) {
	for _, test := range []struct {
		marks string
		since int
		want  bool
	}{
		{"++++++++++", 0, true},
		{"++++++++++", 7, false}, // for two milliseconds only
		{"+++++x++++", 0, true},
		{"+++++-++++", 0, false},
		{"++-+++++++", 0, true},
		{"++++++++--", 0, true}, // on their way
		{"----------", 0, false},
		{"", 0, false},
	} {
		m := monitorOf(test.marks)
		_, ok := m.Steady(m.start.Add(time.Duration(test.since)*time.Millisecond), 5*time.Millisecond)
		if ok != test.want {
			t.Errorf("%q since %d: %v", test.marks, test.since, ok)
		}
	}
}

func TestHarvest(t *testing.T) {
	m := monitorOf("+-+2D--++--")
	from, total := m.start, Harvest{}
	for _, to := range []int{2, 6, 8, 11} {
		h, next := m.Harvest(from, m.start.Add(time.Duration(to)*time.Millisecond))
		from = next
		total.Gaps = append(total.Gaps, h.Gaps...)
		total.Doubles, total.Sent, total.Answered = total.Doubles+h.Doubles, total.Sent+h.Sent, total.Answered+h.Answered
	}
	// The gap at the end has not ended: it begins with the echo before it.
	if len(total.Gaps) != 2 || total.Doubles != 1 || total.Sent != 8 || total.Answered != 5 || from.Sub(m.start) != 8*time.Millisecond {
		t.Errorf("%+v, the next from %v", total, from.Sub(m.start))
	}
	m = monitorOf(strings.Repeat("+", 200))
	m.Harvest(m.start, m.start.Add(150*time.Millisecond))
	if n := len(m.clients[0].echoes); n >= 150 {
		t.Errorf("%d echoes are kept of 200", n)
	}
}
