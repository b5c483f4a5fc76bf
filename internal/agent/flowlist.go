package agent

import (
	"time"

	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/member"
)

// How soon a question is repeated: at first, and at most where nobody answers.
const (
	askPause    = 5 * time.Millisecond
	longestWait = 160 * time.Millisecond
)

// flowList is what is known of the flows that a node keeps, in one view. Lists
// of it come one after the other, each in chunks, which may come in any order,
// and because somebody else asked.
type flowList struct {
	last   time.Duration // when the last one that was whole was taken, by that node's clock; 0: there was none
	known  bool          // there was
	asking bool          // one is being collected
	began  time.Duration // since when
	due    time.Duration // when to ask, for the rest or anew
	pause  time.Duration // how long to wait for an answer
	warned bool          // it has been told that this takes long

	taken time.Duration // of the one that comes; 0: nothing has come yet
	got   []bool        // which chunks
	first int           // that is missing
	asked int           // up to which chunk was asked for
	flows map[dataplane.UDPFlow]struct{}
}

// start begins to ask.
func (l *flowList) start(now time.Duration) {
	l.asking, l.began, l.due, l.pause = true, now, now, askPause
	l.taken, l.got, l.first, l.flows = 0, nil, 0, map[dataplane.UDPFlow]struct{}{}
}

// wants reports whether a chunk is one that is missing: of the list that comes,
// or of a later one, which then comes in its place.
func (l *flowList) wants(now time.Duration, c *member.FlowChunk) bool {
	if c.Taken <= l.last || c.Taken < l.taken {
		return false
	}
	if c.Taken > l.taken {
		began := l.began
		if !l.asking {
			began = now
		}
		l.start(began)
		l.taken, l.got, l.asked, l.due = c.Taken, make([]bool, c.Total), burst, now+askPause
	}
	return len(l.got) == int(c.Total) && !l.got[c.Index]
}

// add takes a chunk that is wanted, with the flows in it. It reports whether
// the list is whole.
func (l *flowList) add(now time.Duration, c *member.FlowChunk, flows []dataplane.FrozenFlow) bool {
	l.got[c.Index] = true
	for _, f := range flows {
		l.flows[f.UDPFlow] = struct{}{}
	}
	for l.first < len(l.got) && l.got[l.first] {
		l.first++
	}
	l.pause = askPause
	if l.due = now + l.pause; l.first >= l.asked {
		l.due = now
	}
	return l.first == len(l.got)
}

// ask returns the chunk to ask for next.
func (l *flowList) ask(now time.Duration) int {
	l.due = now + l.pause
	l.pause = min(2*l.pause, longestWait)
	l.asked = l.first + burst
	return l.first
}

// has reports whether a flow is on the list.
func (l *flowList) has(f dataplane.UDPFlow) bool {
	_, ok := l.flows[f]
	return ok
}

// end is when a list is whole. The next one is asked for in its time.
func (l *flowList) end(now time.Duration) {
	l.due = now + max(renewTime, renewShare*(now-l.began))
	l.last, l.known, l.asking, l.warned = l.taken, true, false, false
	l.got, l.flows = nil, nil
}
