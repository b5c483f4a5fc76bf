package heartbeat

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-net/shoal/internal/member"
	"github.com/shoal-net/shoal/internal/wire"
)

var inForce = member.ViewID{Epoch: 0x101, Digest: member.Digest{1, 15: 2}}

// What is said about UDP flows passes between agent and process as it was said.
func TestPassed(t *testing.T) {
	p, link := pair(t)
	data := member.AppendFlow(nil, member.Flow{Client: netip.MustParseAddrPort("192.0.2.1:4001"), Server: netip.MustParseAddrPort("192.0.2.10:53"), Bucket: 7})
	fetch := &member.FlowFetch{To: 2, View: inForce, After: 3, From: 4}
	chunk := &member.FlowChunk{View: inForce, Taken: 3, Total: 1, Data: data}
	for _, body := range []member.Body{fetch, chunk} {
		if err := p.Pass(body); err != nil {
			t.Fatal(err)
		}
		data, _, errno := link.receive()
		var decoded wire.Decoded
		if errno != 0 || !wire.IsPassed(data) || wire.DecodePassed(data, &decoded) != nil {
			t.Fatalf("%x: %v", data, errno)
		}
		if diff := cmp.Diff(body, decoded.Message.Body); diff != "" {
			t.Error(diff)
		}
	}

	in := newInbox()
	p.Acquired, p.Fetches, p.Chunks, p.inbox = in.acquired, in.fetches, in.chunks, in
	p.wait, p.answers, p.ended = func() error { return nil }, make(chan Event, 1), make(chan struct{})
	go p.listen(make(chan Event))
	link.pass(wire.AppendPassed(nil, 3, fetch))
	if got := <-p.Fetches; got != *fetch {
		t.Errorf("asked %+v", got)
	}
	link.pass(wire.AppendPassed(nil, 3, chunk))
	if diff := cmp.Diff(FlowChunk{3, *chunk}, <-p.Chunks); diff != "" {
		t.Error(diff)
	}
	told := &Acquired{View: inForce, Unknown: 6}
	told.add(5, 2)
	told.add(65535, 6)
	link.tell(Event{Kind: acquires, Acquired: told})
	got := <-p.Acquired
	if diff := cmp.Diff(told, got); diff != "" {
		t.Error(diff)
	}
	var moves []member.Move
	got.Each(func(b int, old member.Set) { moves = append(moves, member.Move{Bucket: uint16(b), Old: old}) })
	if diff := cmp.Diff([]member.Move{{Bucket: 5, Old: 2}, {Bucket: 65535, Old: 6}}, moves); diff != "" {
		t.Error(diff)
	}
}

// An agent that takes nothing holds nobody up, and finds the newest.
func TestInboxIsFull(t *testing.T) {
	in := newInbox()
	for n := range 1000 {
		in.takePassed(wire.AppendPassed(nil, 1, &member.FlowFetch{To: 2, View: inForce}))
		in.takePassed(wire.AppendPassed(nil, 1, &member.FlowChunk{View: inForce, Taken: 1, Total: 1}))
		in.takeAcquired(&Acquired{Unknown: member.Set(n)})
	}
	in.takePassed([]byte{1, 2, 3})
	if a := <-in.acquired; a.Unknown != 999 || len(in.fetches) != cap(in.fetches) || len(in.chunks) != cap(in.chunks) {
		t.Errorf("%+v, %d questions, %d chunks", a, len(in.fetches), len(in.chunks))
	}
}

// The agent is told at once whom to ask, and the rest in its time.
func TestAcquiredIsDue(t *testing.T) {
	next := member.ViewID{Epoch: 0x201}
	var last acquired
	for i, step := range []struct {
		view         member.ViewID
		unknown      member.Set
		housekeeping bool
		due          bool
	}{
		{member.ViewID{}, 0, false, false},
		{inForce, 0, false, true},
		{inForce, 0, true, false},
		{inForce, 2, false, true},
		{inForce, 2, false, false}, // a bucket less
		{inForce, 2, true, true},
		{inForce, 2, true, true}, // it may have missed it
		{inForce, 0, false, true},
		{inForce, 0, true, false},
		{inForce, 0, false, false}, // a bucket less
		{inForce, 0, true, true},
		{inForce, 0, true, false},
		{next, 0, true, true},
	} {
		if due := last.due(step.view, step.unknown, step.housekeeping); due != step.due {
			t.Errorf("step %d: %t", i, due)
		}
	}
}
