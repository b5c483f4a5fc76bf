package handover

import (
	"fmt"
	"strings"
	"time"
)

// String tells in a few lines what came of a run, with all that went wrong.
func (r *Result) String() string {
	var b strings.Builder
	for _, row := range r.Rows() {
		fmt.Fprintf(&b, "%s: %s\n", row[0], row[1])
	}
	const most = 20 // lines of one kind
	list := func(name string, all []Broken) {
		for _, x := range all[:min(most, len(all))] {
			fmt.Fprintf(&b, "%s after %.2f s: %s, with %q: %s\n", name, x.After.Seconds(), x.Client, x.Server, x.Why)
		}
	}
	list("broken", r.Broken)
	list("failed", r.Failed)
	for _, s := range r.Syns {
		if !sentIn(s, r.windows) && !sentIn(s, r.stalls) {
			fmt.Fprintf(&b, "SYN sent again: first one after %.2f s, %d again\n", s.Sent.Seconds(), s.Repeats)
		}
	}
	for _, x := range r.Resets[:min(most, len(r.Resets))] {
		fmt.Fprintf(&b, "reset after %.2f s: %s to %s\n", x.After.Seconds(), x.From, x.To)
	}
	return b.String()
}

// Rows are what is counted, as names and figures.
func (r *Result) Rows() [][2]string {
	n := func(format string, args ...any) string { return fmt.Sprintf(format, args...) }
	var changes []string
	for k, times := range r.Changes {
		changes = append(changes, n("%d × %s", times, Kind(k)))
	}
	changing, stalled, rest := r.Explain()
	return [][2]string{
		{"changes", strings.Join(changes, ", ")},
		{"time", n("%.0f s", r.Took.Seconds())},
		{"connections kept open", n("%d, and %d that followed others", r.Opened-r.Ended-len(r.Broken), r.Ended+len(r.Broken))},
		{"**of them broken**", n("**%d**", len(r.Broken))},
		{"ended in order, as their node was to be stopped", n("%d", r.Ended)},
		{"requests answered on them", n("%d", r.Answers)},
		{"the slowest answer", r.Slowest.Round(time.Millisecond).String()},
		{"answers after more than 150 ms", n("%d", r.Slow)},
		{"new connections, one request each", n("%d", r.Visits)},
		{"**of new ones failed**", n("**%d**", len(r.Failed))},
		{"**resets that reached clients**", n("**%d**", len(r.Resets))},
		{"resets that clients sent", n("%d", r.ResetsSent)},
		{"connections whose SYN was sent again, begun during a change", n("%d", changing)},
		{"…, else while a processor stood still", n("%d", stalled)},
		{"…, else", n("%d", rest)},
		{"times that a processor stood still for 50 ms and more", n("%d", len(r.stalls))},
		{"other segments that clients sent again", n("%d", r.Repeated)},
		{"segments that nodes sent again", n("%d", r.NodesRepeated)},
	}
}
