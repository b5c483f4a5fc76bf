package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Timed is a fault that is to happen in a running lab.
type Timed struct {
	Fault
	At    time.Duration // from the start of the schedule
	Until time.Duration // when it is healed; 0: never
}

// ParseTimed reads WHO@FROM or WHO@FROM-UNTIL, where WHO is a list of nodes such
// as 2 or 1,3; for a partition of groups, such as 1,2/3, and for a weight with
// it behind, such as 2:50.
func ParseTimed(kind FaultKind, text string) (t Timed, err error) {
	t.Kind = kind
	who, when, ok := strings.Cut(text, "@")
	if !ok {
		return t, fmt.Errorf("%q does not say when: 2@3s is node 2 after three seconds, 2@3s-5s until five", text)
	}
	from, until, ends := strings.Cut(when, "-")
	if t.At, err = time.ParseDuration(from); err != nil {
		return t, fmt.Errorf("%q: %w", text, err)
	}
	if ends {
		if t.Until, err = time.ParseDuration(until); err != nil {
			return t, fmt.Errorf("%q: %w", text, err)
		}
		if t.Until <= t.At {
			return t, fmt.Errorf("%q ends before it begins", text)
		}
	}
	if kind == Weigh {
		nodes, weight, _ := strings.Cut(who, ":")
		if t.Weight, err = strconv.Atoi(weight); err != nil {
			return t, fmt.Errorf("%q does not say which weight: 2:50@3s gives node 2 the weight 50", text)
		}
		who = nodes
	}
	for group := range strings.SplitSeq(who, "/") {
		var nodes []int
		for word := range strings.SplitSeq(group, ",") {
			id, err := strconv.Atoi(strings.TrimSpace(word))
			if err != nil {
				return t, fmt.Errorf("%q: %q is no node's number", text, word)
			}
			nodes = append(nodes, id)
		}
		t.Groups = append(t.Groups, nodes)
	}
	switch {
	case kind == Partition && len(t.Groups) < 2:
		return t, fmt.Errorf("%q is one group: 1,2/3 parts nodes 1 and 2 from node 3", text)
	case kind != Partition && len(t.Groups) > 1:
		return t, fmt.Errorf("%q: only a partition has groups", text)
	case kind != Partition:
		t.Nodes, t.Groups = t.Groups[0], nil
	}
	return t, nil
}

// String tells the fault in words.
func (t Timed) String() string {
	var groups []string
	for _, g := range append(slices.Clone(t.Groups), t.Nodes) {
		if len(g) > 0 {
			groups = append(groups, strings.Trim(fmt.Sprint(g), "[]"))
		}
	}
	s := fmt.Sprintf("%s %s", t.Kind, strings.Join(groups, " / "))
	if t.Kind == Weigh {
		s += fmt.Sprintf(": %d", t.Weight)
	}
	s += fmt.Sprintf(" after %v", t.At)
	if t.Until > 0 {
		s += fmt.Sprintf(", until %v", t.Until)
	}
	return s
}

// A GapReport says what faults did to clients, as a monitor saw it.
type GapReport struct {
	Faults      []string    `json:"faults"`      // in words
	Watched     int         `json:"watched"`     // clients
	Interval    float64     `json:"every_ms"`    // between two echoes of a client
	Interrupted int         `json:"interrupted"` // clients with a gap
	Min         float64     `json:"min_ms"`      // of the longest gap of each interrupted client
	Median      float64     `json:"median_ms"`
	Max         float64     `json:"max_ms"`
	Doubles     int         `json:"handled_twice"` // packets
	Gaps        []ClientGap `json:"gaps"`
	Connections Connections `json:"connections"`
}

// ClientGap is a time in which a client had no service.
type ClientGap struct {
	Client  netip.Addr `json:"client"`
	Seconds float64    `json:"at_s"` // since the start of the schedule
	Length  float64    `json:"ms"`
	Before  int        `json:"node_before"` // 0: not known
	After   int        `json:"node_after"`  // 0: it did not end, or not known
}

// What the monitor of a schedule watches: with the requests of a lab's clients
// about what two processors do.
const (
	scheduleClients  = 16
	scheduleInterval = 4 * time.Millisecond
	harvestPeriod    = 10 * time.Second
	answerTime       = 100 * time.Millisecond // after which an echo is lost
)

// Play lets faults happen, each in its time, until ctx ends, and reports what
// clients saw. What is not healed by then stays for Close.
func (l *Lab) Play(ctx context.Context, faults []Timed) (*GapReport, error) {
	for _, f := range faults {
		if err := l.plan.CheckFault(f.Fault); err != nil {
			return nil, err
		}
	}
	m, err := l.NewMonitor(MonitorOptions{Clients: min(scheduleClients, l.plan.Clients), Interval: scheduleInterval})
	if err != nil {
		return nil, err
	}
	began := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	talks := l.talk(ctx, m.Clients())
	failed := make(chan error, len(faults))
	for _, f := range faults {
		go func() { failed <- l.play(ctx, f) }()
	}
	var total Harvest
	seen := began
	tick := time.NewTicker(harvestPeriod)
	defer tick.Stop()
	for err == nil && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			var h Harvest
			h, seen = m.Harvest(seen, time.Now().Add(-answerTime))
			total.Gaps, total.Doubles = append(total.Gaps, h.Gaps...), total.Doubles+h.Doubles
		case err = <-failed:
		}
	}
	cancel()
	time.Sleep(answerTime) // for what is on its way, which ends with no event
	end := time.Now().Add(-answerTime)
	for _, g := range m.Gaps(seen, end) {
		if !g.From.Before(seen) {
			total.Gaps = append(total.Gaps, g)
		}
	}
	total.Doubles += len(m.Doubles(seen, end))
	report := newGapReport(faults, m, began, total)
	report.Connections = talks()
	return report, errors.Join(err, m.Close())
}

// play lets one fault happen and ends it.
func (l *Lab) play(ctx context.Context, t Timed) error {
	if !wait(ctx, t.At) {
		return nil
	}
	heal, err := l.Inject(t.Fault)
	if err != nil || t.Until == 0 || !wait(ctx, t.Until-t.At) {
		return err
	}
	if err := heal(ctx); ctx.Err() == nil {
		return err
	}
	return nil // cut off by the end
}

// wait waits for some time, and says whether ctx let it.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func newGapReport(faults []Timed, m *Monitor, began time.Time, h Harvest) *GapReport {
	r := &GapReport{Watched: len(m.clients), Interval: ms(m.Interval), Doubles: h.Doubles, Gaps: []ClientGap{}}
	for _, f := range faults {
		r.Faults = append(r.Faults, f.String())
	}
	longest := map[netip.Addr]float64{}
	for _, g := range h.Gaps {
		r.Gaps = append(r.Gaps, ClientGap{g.Client, g.From.Sub(began).Seconds(), ms(g.Length()), g.Before, g.After})
		longest[g.Client] = max(longest[g.Client], ms(g.Length()))
	}
	slices.SortStableFunc(r.Gaps, func(a, b ClientGap) int { return a.Client.Compare(b.Client) })
	var all []float64
	for _, length := range longest {
		all = append(all, length)
	}
	slices.Sort(all)
	if r.Interrupted = len(all); len(all) > 0 {
		r.Min, r.Median, r.Max = all[0], all[(len(all)-1)/2], all[len(all)-1]
	}
	return r
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Table is the report for people.
func (r *GapReport) Table() string {
	var b strings.Builder
	for _, f := range r.Faults {
		fmt.Fprintln(&b, f)
	}
	fmt.Fprintf(&b, "%d clients, an echo every %v ms: %d were interrupted", r.Watched, r.Interval, r.Interrupted)
	if r.Interrupted > 0 {
		fmt.Fprintf(&b, ", for min %.0f, median %.0f, max %.0f ms", r.Min, r.Median, r.Max)
	}
	fmt.Fprintf(&b, "; %d packets handled by two nodes\n", r.Doubles)
	for _, g := range r.Gaps {
		before, after := "?", "?"
		if g.Before > 0 {
			before = nodeName(g.Before)
		}
		if g.After > 0 {
			after = nodeName(g.After)
		}
		fmt.Fprintf(&b, "%-16s %6.0f ms without service, after %.2f s; %s, then %s\n", g.Client, g.Length, g.Seconds, before, after)
	}
	r.Connections.write(&b)
	return b.String()
}
