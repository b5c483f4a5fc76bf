package handover

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A UDPResult is what UDP's clients saw while a cluster changed.
type UDPResult struct {
	Changes         [kinds]int
	Took            time.Duration // while datagrams were sent
	Kept, Queries   DatagramCounts
	windows, stalls []window // of changes; of processors that stood still
	faults          []error  // of sockets
}

// UDPLimits are what the time explains in which a bucket has nobody for some
// datagrams.
type UDPLimits struct {
	Keeps bool // flows stay with their nodes
	// The most time that a change may cost a flow and a query, on average over
	// all that there are.
	Flow, Query time.Duration
}

// What changes may cost.
var (
	// Nobody takes datagrams for one message, from who gives a bucket up to who
	// takes it: docs/benchmarks/handover.md has 0.2 ms for it, and 1.4 ms at most. It is
	// more where others use the processors.
	MoveLimits = UDPLimits{Flow: 5 * time.Millisecond, Query: 5 * time.Millisecond}
	// An old owner goes on with its flows without a pause (docs/protocol.md, T5).
	// What is new waits for the list of them (T6), which may take as long as
	// holdTime; but a change moves a part of the buckets only.
	KeepLimits = UDPLimits{Keeps: true, Query: 300 * time.Millisecond}
)

// cost is for how long a change leaves a client without answers, on average over
// all clients: what the datagrams make up that were not answered.
func (r *UDPResult) cost(c DatagramCounts) time.Duration {
	changes := 0
	for _, n := range r.Changes {
		changes += n
	}
	return time.Duration(float64(r.Took) * float64(c.Changing+c.Holding) / float64(max(1, c.Sent)*max(1, changes)))
}

// Check says what is not as it has to be.
func (r *UDPResult) Check(l UDPLimits) error {
	var errs []error
	fail := func(when bool, format string, args ...any) {
		if when {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	for i, e := range r.faults {
		fail(i < 20, "a client's socket: %w", e)
	}
	for _, x := range []struct {
		name  string
		count DatagramCounts
		most  time.Duration
	}{{"flows", r.Kept, l.Flow}, {"queries", r.Queries, l.Query}} {
		c := x.count
		fail(c.Answered == 0, "%s: no datagram was answered", x.name)
		fail(c.Twice > 0, "%s: %d datagrams were handled or answered twice", x.name, c.Twice)
		fail(c.Unseen > 0, "%s: %d datagrams were answered, and no node is known to have handled them", x.name, c.Unseen)
		fail(l.Keeps && c.Moves > 0, "%s: flows went on with another node %d times", x.name, c.Moves)
		fail(c.Stray > 0, "%s: flows went on with another node %d times without a change", x.name, c.Stray)
		fail(c.Else > 0, "%s: %d datagrams were not answered though nothing changed", x.name, c.Else)
		cost := r.cost(c)
		fail(cost > x.most, "%s: a change cost each %v without answers, more than %v", x.name, cost, x.most)
	}
	// Only who waits for a list has to wait when the command has returned; the
	// list is about flows that are new.
	fail(r.Kept.Holding > 0, "flows: %d datagrams were not answered though the last change was over", r.Kept.Holding)
	fail(!l.Keeps && r.Queries.Holding > 0, "queries: %d datagrams were not answered though the last change was over", r.Queries.Holding)
	return errors.Join(errs...)
}

// String tells in a few lines what came of a run.
func (r *UDPResult) String() string {
	var b strings.Builder
	for _, row := range r.Rows() {
		fmt.Fprintf(&b, "%s: %s\n", row[0], row[1])
	}
	return b.String()
}

// Rows are what is counted, as names and figures.
func (r *UDPResult) Rows() [][2]string {
	var changes []string
	for k, times := range r.Changes {
		changes = append(changes, fmt.Sprintf("%d × %s", times, Kind(k)))
	}
	rows := [][2]string{
		{"changes", strings.Join(changes, ", ")},
		{"time", fmt.Sprintf("%.0f s", r.Took.Seconds())},
		{"times that a processor stood still for 50 ms and more", fmt.Sprint(len(r.stalls))},
		{"flows that go on", fmt.Sprint(r.Kept.Flows)},
	}
	rows = append(rows, r.rows("flows: ", r.Kept)...)
	rows = append(rows,
		[2]string{"flows: unanswered in a row, at most", fmt.Sprint(r.Kept.InARow)},
		[2]string{"flows: times that one went on with another node", fmt.Sprint(r.Kept.Moves)},
		[2]string{"flows: …, without a change since its last datagram", fmt.Sprint(r.Kept.Stray)})
	return append(rows, r.rows("queries: ", r.Queries)...)
}

// rows are the figures of one sort of flows. Each has another name.
func (r *UDPResult) rows(of string, c DatagramCounts) [][2]string {
	return [][2]string{
		{of + "datagrams", fmt.Sprint(c.Sent)},
		{of + "answered", fmt.Sprint(c.Answered)},
		{"**" + of + "handled or answered twice, or by two nodes**", fmt.Sprintf("**%d**", c.Twice)},
		{of + "unanswered", fmt.Sprint(c.Unanswered())},
		{of + "…, sent during a change", fmt.Sprint(c.Changing)},
		{of + "…, else up to a second later", fmt.Sprint(c.Holding)},
		{of + "…, else while a processor stood still", fmt.Sprint(c.Stalled)},
		{of + "…, else", fmt.Sprint(c.Else)},
		{of + "unanswered, though a node had handled it", fmt.Sprint(c.Taken)},
		{of + "time without answers that a change costs each, on average", fmt.Sprintf("%.2f ms", float64(r.cost(c))/float64(time.Millisecond))},
	}
}
