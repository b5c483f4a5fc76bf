package handover

import (
	"math/bits"
	"slices"
	"time"
)

// A Datagram is one that a client sent, and what became of it.
type Datagram struct {
	Sent    time.Duration // since the clients began
	Nodes   uint64        // that handled it, or answered: bit n-1 is node n
	Handled int           // times that it reached a node's prerouting, of all nodes together
	Answers int
}

// A Flow is the datagrams of one client's port, in the order in which they were
// sent.
type Flow []Datagram

// DatagramCounts are what became of the datagrams of some flows.
type DatagramCounts struct {
	Flows, Sent, Answered int
	Twice                 int // handled or answered more than once, or by two nodes
	Unseen                int // answered, and no log of a node has them: the logs are of no use
	// Unanswered ones, by the time at which they were sent.
	Changing int // during a change, or flushTime after it at most
	Holding  int // else holdTime after one at most
	Stalled  int // else while a processor stood still
	Else     int
	// Taken are such as no client had an answer to though a node handled them.
	Taken  int
	InARow int // of one flow: the most that had no answer
	Moves  int // times that a flow went on with another node
	Stray  int // of them without a change since the datagram before
}

// Unanswered is how many datagrams had no answer.
func (c *DatagramCounts) Unanswered() int { return c.Changing + c.Holding + c.Stalled + c.Else }

// holdTime is for how long a new owner may wait for lists of the flows that are
// not its own, when the command has returned long ago: docs/architecture.md has 0.3
// to 0.6 s for 60,000 flows, which is more than there are here.
const holdTime = time.Second

// countDatagrams counts what became of the datagrams of flows.
func countDatagrams(flows []Flow, changes, stalls []window) (c DatagramCounts) {
	c.Flows = len(flows)
	for _, f := range flows {
		row := 0
		var last *Datagram // that has one node
		for i := range f {
			d := &f[i]
			c.Sent++
			if d.Handled > 1 || d.Answers > 1 || bits.OnesCount64(d.Nodes) > 1 {
				c.Twice++
			}
			if d.Answers > 0 {
				c.Answered++
				row = 0
				c.Unseen += 1 - min(1, d.Handled)
			} else {
				row++
				c.InARow = max(c.InARow, row)
				c.explain(d, changes, stalls)
			}
			if bits.OnesCount64(d.Nodes) == 1 {
				c.follow(last, d, changes)
				last = d
			}
		}
	}
	return c
}

// explain says when a datagram was sent that had no answer.
func (c *DatagramCounts) explain(d *Datagram, changes, stalls []window) {
	if d.Handled > 0 {
		c.Taken++
	}
	within := func(all []window, rest time.Duration) bool {
		return slices.ContainsFunc(all, func(w window) bool { return d.Sent >= w.from && d.Sent <= w.to+rest })
	}
	switch {
	case within(changes, flushTime):
		c.Changing++
	case within(changes, flushTime+holdTime):
		c.Holding++
	case within(stalls, flushTime):
		c.Stalled++
	default:
		c.Else++
	}
}

// follow says whether a flow has another node than before, and whether a change
// was under way at some time between the two datagrams.
func (c *DatagramCounts) follow(last, d *Datagram, changes []window) {
	if last == nil || last.Nodes == d.Nodes {
		return
	}
	c.Moves++
	if !slices.ContainsFunc(changes, func(w window) bool { return d.Sent >= w.from && last.Sent <= w.to+flushTime }) {
		c.Stray++
	}
}
