package sim

import (
	"math/bits"
	"math/rand/v2"
	"strconv"

	"github.com/shoal-net/shoal/internal/member"
)

const (
	maxHosts      = 16
	maxInterfaces = 2
	maxWaiting    = 256 // frames that wait for a process; more are dropped
)

// hostSet is a set of hosts; index i is bit i.
type hostSet uint32

func (s hostSet) has(i int) bool { return s>>i&1 == 1 }
func (s hostSet) len() int       { return bits.OnesCount32(uint32(s)) }

// arrival is a frame that waits for its process, with the stamp that the
// kernel gave it.
type arrival struct {
	frame uint32
	stamp member.Time
	iface uint8
}

// host is a machine: a clock, a disk, a data plane, and a process that runs a
// member.
type host struct {
	index  int // in World.hosts
	id     member.NodeID
	name   string
	config member.Config
	agent  agent
	clock  clock
	disk   disk
	plane  plane
	random *rand.Rand // the member's

	powered bool
	carrier uint8  // interfaces whose link is up
	outside bool   // something outside the cluster would answer it
	limit   uint16 // what its health allows

	process *member.Member // nil: none runs
	life    uint32         // of the process, so that what was meant for another is known
	born    instant        // of the process
	paused  bool
	slow    instant // frames wait up to this long for the process
	late    instant // the process wakes up to this much later than it wanted
	waiting []arrival
	waking  bool
	due     instant // when the process wants its next tick; never: none is queued
	tickAt  instant // … and gets it

	killed bool    // … for good, see tear
	stuck  bool    // the agent is …
	fenced instant // … and since when it is, or is no more
	held   bool    // the process was told that it is
	unread bool    // its file has changed, and the process has not read it since
	takeover
	leaving bool         // it was told to leave
	acted   member.Epoch // newest epoch that its data plane was given buckets of
	tear    int          // stop the process in the middle of its next effects: after so many of them; 0: no
	torn    int          // effects done when it was stopped; -1: it is not stopped there

	sent   member.Time // stamp of the newest heartbeat, by its own clock
	sentAt instant     // and when it left
	known  uint8       // links that the process was told of
	saved  uint64      // newest write that is on disk, for a process that was stopped meanwhile
	proof  bool        // something outside answered, likewise
}

func (h *host) running() bool { return h.process != nil && !h.paused }

func newHost(w *World, index int, id member.NodeID) *host {
	h := &host{index: index, id: id, name: strconv.Itoa(int(id)), torn: -1, sentAt: -1}
	if index >= w.Nodes+w.Spare {
		h.name += "'"
	}
	h.random = rand.New(rand.NewPCG(w.Seed, uint64(100+index)))
	h.config = w.config(id)
	h.clock = clock{base: member.Time(draw(w.noise, 0, 1000*second)) + member.Time(10*second)}
	if w.Drift > 0 {
		h.clock.ppm = draw(w.noise, -w.Drift, w.Drift)
	}
	h.disk.slowest = w.Sync
	h.carrier = 1<<w.Interfaces - 1
	h.known = h.carrier
	h.powered, h.outside, h.limit = true, true, member.MaxWeight
	return h
}

// start starts a process with what the disk holds.
func (w *World) start(h *host) {
	h.powered = true
	h.life++
	h.born = w.now
	h.paused, h.torn, h.tear, h.waking, h.saved, h.proof = false, -1, 0, false, 0, false
	h.killed, h.leaving, h.stuck, h.held, h.unread = false, false, false, false, false
	h.plane.deadline = 0 // a process ends the lease that it finds (clause S3)
	w.oracle.refresh(w, h)
	h.process = member.New(h.config, h.disk.content, h.clock.read(w.now), h.random.Uint64)
	w.oracle.started(w, h)
	w.begins(h)
	w.drain(h)
	h.known = 0xff // a member takes all links to be up until it is told otherwise
	h.due, h.tickAt = never, never
	w.tell(h)
	w.schedule(h)
	w.settled()
}

// end ends the process: no warning, no last word.
func (w *World) end(h *host) {
	h.process, h.takeover = nil, takeover{}
	h.life++
	h.paused, h.torn, h.tear = false, -1, 0
	w.drain(h)
	h.disk.crash(func(pending int) int { return int(draw(w.noise, 0, int64(pending))) })
	w.oracle.kept(w, h)
	w.settled()
}

// drain drops the frames that wait for a process that is gone.
func (w *World) drain(h *host) {
	for _, a := range h.waiting {
		w.network.release(a.frame)
	}
	h.waiting = h.waiting[:0]
}

// tell lets the process know which links are up, if it does not.
func (w *World) tell(h *host) {
	if !h.running() || h.carrier == h.known && h.known != 0xff {
		return
	}
	known := h.known
	h.known = h.carrier
	if known == 0xff && h.carrier == 1<<w.Interfaces-1 {
		return
	}
	w.tracef("%s carrier %b", h.name, h.carrier)
	h.process.Carrier(h.clock.read(w.now), h.carrier)
	w.perform(h)
}

// hold lets the process know whether its agent is stuck, if it does not.
func (w *World) hold(h *host) {
	if !h.running() || h.held == h.stuck {
		return
	}
	h.held = h.stuck
	if now := h.clock.read(w.now); h.stuck {
		h.process.Withdraw(now, "its agent is stuck")
	} else {
		h.process.Resume(now)
	}
	w.perform(h)
}

// rereads has the process read its file, if that has changed: one that is stopped
// does so when it goes on.
func (w *World) rereads(h *host) {
	if !h.running() || !h.unread {
		return
	}
	h.unread = false
	w.settled()
	h.process.Reload(h.clock.read(w.now), h.config)
	w.perform(h)
}

// schedule queues the process's next tick.
func (w *World) schedule(h *host) {
	if !h.running() {
		return
	}
	due := h.clock.when(h.process.Next(), w.now)
	if due >= h.due {
		return // when that tick comes up, it is seen whether it still is needed
	}
	h.due = due
	h.tickAt = due + draw(w.noise, 0, h.late)
	w.queue.push(event{at: h.tickAt, kind: tick, host: uint8(h.index), ref: h.life})
}

// ticks is when a tick comes up.
func (w *World) ticks(h *host, e *event) {
	if e.ref != h.life || e.at != h.tickAt || !h.running() {
		return
	}
	h.due, h.tickAt = never, never
	if h.clock.read(w.now) >= h.process.Next() {
		w.wakes(h)
	} else {
		w.schedule(h)
	}
}

// arrives brings a frame to a host.
func (w *World) arrives(h *host, e *event) {
	if !h.powered || h.carrier>>e.iface&1 == 0 || h.process == nil {
		w.network.release(e.ref)
		return
	}
	f := w.network.frames[e.ref]
	w.oracle.arrived(w, h, f)
	if !h.paused && h.slow == 0 {
		w.receive(h, arrival{e.ref, h.clock.read(w.now), e.iface})
		return
	}
	if len(h.waiting) == maxWaiting {
		w.network.release(e.ref)
		return
	}
	h.waiting = append(h.waiting, arrival{e.ref, h.clock.read(w.now), e.iface})
	if !h.paused && !h.waking {
		h.waking = true
		w.queue.push(event{at: w.now + draw(w.noise, 0, h.slow), kind: wake, host: uint8(h.index), ref: h.life})
	}
}

// receive hands a frame to the member.
func (w *World) receive(h *host, a arrival) {
	f := w.network.frames[a.frame]
	verdict := h.process.Receive(h.clock.read(w.now), a.stamp, int(a.iface), &f.message)
	if w.trace != nil {
		w.traceFrame(h, a, &f.message, verdict)
	}
	w.oracle.taken(h, f, a, verdict)
	w.oracle.opposes(w, h, f, verdict)
	w.network.release(a.frame)
	w.perform(h)
}

// catchUp hands over the frames that waited, oldest first.
func (w *World) catchUp(h *host) {
	h.waking = false
	for len(h.waiting) > 0 && h.running() {
		first := h.waiting[0]
		h.waiting = h.waiting[:copy(h.waiting, h.waiting[1:])]
		w.receive(h, first)
	}
}

// wakes ticks the member. All that arrived before comes first.
func (w *World) wakes(h *host) {
	w.catchUp(h)
	if !h.running() {
		return
	}
	h.process.Tick(h.clock.read(w.now))
	w.perform(h)
}
