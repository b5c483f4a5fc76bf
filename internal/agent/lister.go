package agent

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/heartbeat"
	"github.com/shoal-net/shoal/internal/member"
)

const (
	// settleTime is left to packets that were on their way when the table came
	// into force: to the programs' end a millisecond, and in a gateway to where
	// connection tracking takes a new flow into its table.
	settleTime = 2 * time.Millisecond
	// relistTime is between two lists of one view: to make one may take a
	// second of a processor.
	relistTime = 5 * time.Second
	// burst is how many chunks answer a question: as many as the other nodes'
	// receivers have room for beside heartbeats.
	burst = 16
	// resendTime is how soon a chunk is not sent again. All nodes hear it, and
	// several may have asked.
	resendTime = 2 * time.Millisecond
)

// lister tells new owners of this node's buckets which UDP flows it keeps
// (clause T6). It has a goroutine of its own: lists take long.
type lister struct {
	noter
	table interface {
		Table() (epoch uint64, states []dataplane.State, acts bool)
	}
	flows func(each func(f dataplane.UDPFlow, bucket int)) error
	say   func(member.Body) error
	now   func() time.Duration
	wait  func(time.Duration)

	view   member.ViewID // of the list that there is
	taken  time.Duration
	chunks [][]byte
	sent   []time.Duration // by chunk
}

// run answers until ctx ends.
func (l *lister) run(ctx context.Context, processes <-chan *heartbeat.Process) {
	var fetches <-chan member.FlowFetch
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-processes:
			fetches = p.Fetches
		case f := <-fetches:
			l.answer(f)
		}
	}
}

// answer sends some chunks, from the one on that is asked for.
func (l *lister) answer(f member.FlowFetch) {
	if (l.view != f.View || l.taken <= f.After) && !l.list(f.View) {
		return // it is asked again
	}
	now, from := l.now(), int(f.From)
	if from >= len(l.chunks) {
		from = 0 // the asker has a longer list, of before
	}
	for i := from; i < min(len(l.chunks), from+burst); i++ {
		if l.sent[i] != 0 && now-l.sent[i] < resendTime {
			continue
		}
		l.sent[i] = now
		chunk := &member.FlowChunk{View: l.view, Taken: l.taken, Index: uint16(i), Total: uint16(len(l.chunks)), Data: l.chunks[i]}
		if !l.note("tell another node which UDP flows this one keeps", l.say(chunk)) {
			return
		}
	}
}

// list makes a list of what this node keeps. In buckets that it drains it takes
// nothing new, so whatever is not on the list stays the new owner's.
func (l *lister) list(view member.ViewID) bool {
	if l.view == view && l.now()-l.taken < relistTime {
		return false
	}
	epoch, states, _ := l.table.Table()
	if member.Epoch(epoch) != view.Epoch {
		return false // it does not act on that view
	}
	if l.view != view {
		l.wait(settleTime)
	}
	taken := l.now()
	chunks := [][]byte{nil}
	last := &chunks[0]
	err := l.flows(func(f dataplane.UDPFlow, bucket int) {
		if states[bucket] != dataplane.Draining {
			return
		}
		one := member.AppendFlow(nil, member.Flow{Client: f.Client, Server: f.Server, Bucket: uint16(bucket)})
		if len(*last)+len(one) > member.ChunkSize {
			chunks = append(chunks, nil)
			last = &chunks[len(chunks)-1]
		}
		*last = append(*last, one...)
	})
	if err == nil && len(chunks) > math.MaxUint16 {
		err = errors.New("there are too many")
	}
	if !l.note("list the UDP flows that this node keeps", err) {
		return false
	}
	if now, _, _ := l.table.Table(); now != epoch {
		return false
	}
	l.view, l.taken, l.chunks, l.sent = view, taken, chunks, make([]time.Duration, len(chunks))
	return true
}
