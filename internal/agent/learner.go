package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/heartbeat"
	"github.com/shoal-net/shoal/internal/member"
)

const (
	// renewTime is between two lists of an old owner's flows, and renewShare how
	// much longer than it takes to get one. What ended there is taken here then.
	renewTime  = 10 * time.Second
	renewShare = 100
	// warnTime is how long clients may wait before it is worth a line in the log.
	warnTime = time.Second
)

// learner gets to know which UDP flows old owners of this node's buckets keep,
// and has the data plane leave them alone (clause T6). Nobody else freezes or
// thaws flows.
type learner struct {
	noter
	plane  freezer
	say    func(member.Body) error
	report func(from member.NodeID, view member.ViewID) error // to the heartbeat process
	now    func() time.Duration
	name   func(member.NodeID) string

	view  member.ViewID
	old   []member.Set // by bucket: its old owners, where it comes here
	lists map[member.NodeID]*flowList
}

// freezer is what the data plane does: *dataplane.Plane.
type freezer interface {
	Freeze(owner uint8, flows []dataplane.FrozenFlow) error
	Thaw(keep func(f dataplane.FrozenFlow, owner uint8) bool) error
}

// run works until ctx ends.
func (l *learner) run(ctx context.Context, processes <-chan *heartbeat.Process) {
	p := &heartbeat.Process{} // none
	for {
		var due <-chan time.Time
		if next, any := l.next(); any {
			due = time.After(next - l.now())
		}
		select {
		case <-ctx.Done():
			return
		case p = <-processes:
		case a := <-p.Acquired:
			l.acquired(a)
		case c := <-p.Chunks:
			l.take(c.From, &c.FlowChunk)
		case <-due:
		}
		l.ask()
	}
}

// acquired takes which buckets come here, from whom.
func (l *learner) acquired(a *heartbeat.Acquired) {
	if a.View != l.view || l.lists == nil {
		l.view, l.lists = a.View, map[member.NodeID]*flowList{}
	}
	clear(l.old)
	all := member.Set(0)
	a.Each(func(bucket int, old member.Set) {
		if bucket < len(l.old) {
			l.old[bucket] = old
			all |= old
		}
	})
	err := l.plane.Thaw(func(f dataplane.FrozenFlow, owner uint8) bool { return l.keeps(owner, f.Bucket) })
	l.note("take the UDP flows that old owners do not keep any more", err)
	now := l.now()
	for n := member.NodeID(1); n <= member.MaxNodes; n++ {
		list := l.lists[n]
		switch {
		case !all.Has(n):
			delete(l.lists, n)
			continue
		case list == nil:
			list = &flowList{due: now + renewTime}
			l.lists[n] = list
		}
		switch {
		case !a.Unknown.Has(n):
		case list.known:
			l.tell(n)
		case !list.asking:
			list.start(now)
		}
	}
}

// keeps reports whether a node may have flows of a bucket that comes here.
func (l *learner) keeps(owner member.NodeID, bucket int) bool {
	return bucket < len(l.old) && l.old[bucket].Has(owner)
}

// take takes a part of an old owner's list.
func (l *learner) take(from member.NodeID, c *member.FlowChunk) {
	list := l.lists[from]
	if list == nil || c.View != l.view || !list.wants(l.now(), c) {
		return
	}
	var flows []dataplane.FrozenFlow
	err := member.DecodeFlows(c.Data, func(f member.Flow) {
		if l.keeps(from, int(f.Bucket)) {
			flows = append(flows, dataplane.FrozenFlow{UDPFlow: dataplane.UDPFlow{Client: f.Client, Server: f.Server}, Bucket: int(f.Bucket)})
		}
	})
	if err == nil {
		err = l.plane.Freeze(from, flows)
	}
	if !l.note("leave UDP flows to their old owner", err) {
		return // the chunk is asked for again
	}
	if list.add(l.now(), c, flows) {
		l.whole(from, list)
	}
}

// whole ends a list: what is not on it is its old owner's no more, and will not be.
func (l *learner) whole(from member.NodeID, list *flowList) {
	err := l.plane.Thaw(func(f dataplane.FrozenFlow, owner uint8) bool {
		return owner != from || list.has(f.UDPFlow)
	})
	l.note("take the UDP flows that old owners do not keep any more", err)
	if took := l.now() - list.began; !list.known && (len(list.flows) > 0 || list.warned) {
		l.log.Info("UDP flows stay with the old owner of their buckets", "node", l.name(from), "flows", len(list.flows), "known_after", took.Round(10*time.Microsecond))
	}
	list.end(l.now())
	l.tell(from)
}

func (l *learner) tell(from member.NodeID) {
	l.note("tell the heartbeat process whose UDP flows are known", l.report(from, l.view))
}

// next is when there is something to ask for next.
func (l *learner) next() (due time.Duration, any bool) {
	for _, list := range l.lists {
		if !any || list.due < due {
			due, any = list.due, true
		}
	}
	return due, any
}

// ask asks for what is missing, where it is time.
func (l *learner) ask() {
	now := l.now()
	for n, list := range l.lists {
		if list.due > now {
			continue
		}
		if !list.asking {
			list.start(now)
		}
		if !list.known && !list.warned && now-list.began > warnTime {
			list.warned = true
			l.log.Warn(fmt.Sprintf("%s does not tell which UDP flows it keeps: in buckets that it gave up, new ones wait until it does, or is done with them", l.name(n)))
		}
		f := &member.FlowFetch{To: n, View: l.view, After: list.last, From: uint16(list.ask(now))}
		l.note("ask another node which UDP flows it keeps", l.say(f))
	}
}
