package sim

import (
	"math/bits"

	"github.com/shoal-net/shoal/internal/member"
)

// agent is the other process of a host: it counts and destroys flows. It takes
// its time, and does nothing while it is stuck.
type agent struct {
	sweeping bool   // it has yet to destroy all flows before the node may take part
	sweep    uint64 // that it was asked for last …
	doing    uint64 // … that it is at; 0: none …
	swept    uint64 // … and that is done and its process has not been told of yet; 0: none
	report   report
	since    [64]instant // when a bucket was first found draining; 0: it is not
	frozen   member.ViewID
	limit    uint16 // that its process was told of
}

// report is which buckets were found empty under a table.
type report struct {
	epoch uint64
	empty []int
}

// works has an agent do what its time has come for.
func (w *World) works(h *host, k kind) {
	switch k {
	case counts:
		w.counted(h)
	case reports:
		w.inform(h)
	case sweeps:
		w.swept(h)
	case freezes:
		w.frozen(h)
	}
}

// begins starts the agent of a process.
func (w *World) begins(h *host) {
	h.agent = agent{sweeping: w.Keep, limit: member.MaxWeight}
	if w.Keep {
		w.agentLater(h, counts, 50*millisecond, 200*millisecond)
	}
}

func (w *World) agentLater(h *host, k kind, low, high instant) {
	w.queue.push(event{at: w.now + draw(w.clients.random, low, high), kind: k, host: uint8(h.index), ref: h.life})
}

// asked is told to destroy all flows.
func (w *World) asked(h *host, seq uint64) {
	if w.plane(h) != 0 {
		w.fail("flows: %s is to destroy its flows while it handles some", h.name)
	}
	a := &h.agent
	if a.sweeping, a.sweep = true, seq; a.doing == 0 {
		w.sweepNext(h)
	}
	w.settled()
}

func (w *World) sweepNext(h *host) {
	h.agent.doing = h.agent.sweep
	w.agentLater(h, sweeps, millisecond/10, 30*millisecond)
}

// plane is the set of buckets of which a data plane handles anything.
func (w *World) plane(h *host) uint64 {
	if !h.plane.leased(h.clock.read(w.now)) {
		return 0
	}
	return h.plane.table | h.plane.drains
}

// swept is when the flows are destroyed.
func (w *World) swept(h *host) {
	a := &h.agent
	if a.doing == 0 { // another agent has begun since
		return
	}
	number := a.doing
	a.doing = 0
	if h.stuck { // tried again when the member asks again
		return
	}
	w.destroy(h, w.all())
	if a.swept = number; number != a.sweep {
		w.sweepNext(h)
	}
	w.inform(h)
}

// counted looks for buckets that are drained.
func (w *World) counted(h *host) {
	w.agentLater(h, counts, 50*millisecond, 200*millisecond)
	if h.stuck {
		return
	}
	a, busy := &h.agent, w.has(h)
	r := report{epoch: h.plane.tableEpoch}
	for b := range w.Buckets {
		if h.plane.drains>>b&1 == 0 {
			a.since[b] = 0
			continue
		}
		if a.since[b] == 0 {
			a.since[b] = w.now
		}
		late := w.Drain > 0 && w.now-a.since[b] > w.Drain
		if late {
			w.release(h, b)
		}
		if late || busy>>b&1 == 0 {
			r.empty = append(r.empty, b)
		}
	}
	if len(r.empty) > 0 {
		a.report = r
		w.agentLater(h, reports, 0, 5*millisecond)
	}
}

// release notes that the flows of a bucket may be broken: they have had the time
// that there is for them.
func (w *World) release(h *host, b int) {
	for k := range w.clients.flows {
		if f := &w.clients.flows[k]; f.host == h.index && f.bucket == b {
			f.safe = false
		}
	}
}

// loaded follows what a new table asks of the agent.
func (w *World) loaded(h *host, before plane) {
	given := before.drains &^ (h.plane.drains | h.plane.table)
	w.destroy(h, given)
	if h.plane.held != 0 && h.process != nil {
		if v := h.process.Status(h.clock.read(w.now)).View; v != nil {
			h.agent.frozen = v.ID()
			w.agentLater(h, freezes, millisecond/10, 3*millisecond)
		}
	}
}

// frozen brings the keys of the flows that old owners keep.
func (w *World) frozen(h *host) {
	if h.plane.held == 0 || !h.running() {
		if h.plane.held != 0 {
			w.agentLater(h, freezes, millisecond, 5*millisecond)
		}
		return
	}
	v := w.oracle.actsOn(h)
	var from member.Set
	for _, move := range v.Moves {
		if h.plane.held>>move.Bucket&1 == 1 {
			from |= move.Old
		}
	}
	for left := uint64(from); left != 0 && h.running(); left &= left - 1 {
		old := member.NodeID(bits.TrailingZeros64(left) + 1)
		if peer := w.byID(old); peer.powered && peer.process != nil && !peer.stuck {
			h.process.Frozen(h.clock.read(w.now), old, h.agent.frozen)
			w.perform(h)
		}
	}
	if h.plane.held != 0 {
		w.agentLater(h, freezes, millisecond, 5*millisecond)
	}
}

func (w *World) byID(n member.NodeID) *host { return w.hosts[n-1] }

// heed tells a process what its agent has to say.
func (w *World) heed(h *host) {
	a := &h.agent
	if h.running() && a.limit != h.limit {
		a.limit = h.limit
		h.process.Health(h.clock.read(w.now), h.limit)
		w.perform(h)
	}
	if h.running() && a.swept != 0 {
		if a.swept == a.sweep {
			a.sweeping = false
		}
		seq := a.swept
		a.swept = 0
		w.tracef("%s swept", h.name)
		h.process.Swept(h.clock.read(w.now), seq)
		w.perform(h)
		w.settled()
	}
	if h.running() && a.report.empty != nil {
		r := a.report
		a.report = report{}
		w.tracef("%s drained %v under %s", h.name, r.empty, number(r.epoch))
		h.process.Drained(h.clock.read(w.now), r.epoch, r.empty)
		w.perform(h)
	}
}
