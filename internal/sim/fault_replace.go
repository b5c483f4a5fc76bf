package sim

import "github.com/shoal-net/shoal/internal/member"

// takeover is one process going on in the place of another (clause R4).
type takeover struct {
	wanted bool    // as soon as all is on disk
	gap    instant // between the end of the old process and the start of the new one
	state  []byte  // handed over by the old one, which has stopped; nil: not yet
}

// doReplace has a new process take the place of the old one.
func doReplace(w *World, h *host, args []string) (err error) {
	gap := millisecond
	if len(args) > 0 {
		if gap, err = duration(args); err != nil {
			return err
		}
	}
	if h.running() && h.tear == 0 {
		h.takeover = takeover{wanted: true, gap: gap}
		w.handOver(h)
	}
	return nil
}

// handOver stops a process that is to be replaced, once it can be.
func (w *World) handOver(h *host) {
	if !h.takeover.wanted || !h.running() {
		return
	}
	state, err := h.process.Snapshot()
	if err != nil {
		return // tried again when the write ends
	}
	h.takeover.wanted, h.takeover.state = false, state
	h.paused = true
	w.queue.push(event{at: w.now + h.takeover.gap, kind: succeed, host: uint8(h.index), ref: h.life})
	w.settled()
}

// succeeds starts the new process.
func (w *World) succeeds(h *host) {
	state := h.takeover.state
	h.takeover = takeover{}
	now := h.clock.read(w.now)
	next, err := member.Restore(h.config, state, now, h.random.Uint64)
	if err != nil {
		w.fail("clause R4: %s does not go on: %v", h.name, err)
		return
	}
	w.notef("%s: a new process goes on", h.name)
	h.process, h.paused = next, false
	h.agent = agent{sweeping: h.agent.sweeping, since: h.agent.since, limit: ^uint16(0)} // of its health it tells in any case
	h.known, h.held, h.reread = 0xff, false, false                                       // what the agent tells each process
	h.due, h.tickAt = never, never
	w.catchUp(h)
	w.inform(h)
	w.settled()
}

// goesOn reports whether a process runs, or is replaced so fast that nobody
// should notice.
func (h *host) goesOn(w *World) bool {
	return h.running() || h.takeover.state != nil && h.takeover.gap <= instant(w.Interval)/4
}
