package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/shoal-net/shoal/internal/member"
)

// Setup is what a run starts from.
type Setup struct {
	Seed       uint64
	Nodes      int // ids 1..Nodes
	Spare      int // hosts with the ids above that are in nobody's file yet
	Buckets    int // 1..64: a table is one word
	Interfaces int // 1 or 2
	Beats      int // interfaces among them, the last ones, that carry no clients' packets
	Interval   time.Duration
	Lease      time.Duration
	Available  bool
	Silent     member.Set // nodes with serve: false
	Drift      int64      // clocks are off by up to this, in millionths
	Sync       instant    // a write to disk takes up to this long
	Noise      uint32     // loss, in millionths, that is no fault: bounds are not checked under it
	DelayMax   instant    // the network's usual delay
	Weights    []uint16   // of the nodes, in turn; nil: all 100
	Keep       bool       // flows stay where they are when buckets move …
	Drain      instant    // … for up to so long; 0: for ever
	Hold       bool       // udp: keep
	KeepIll    bool       // all-unhealthy: keep
}

// World is one run: hosts, a network, and an oracle that watches them.
type World struct {
	Setup
	now     instant
	queue   queue
	hosts   []*host
	network network
	clients clients
	noise   *rand.Rand // of disks and processes
	oracle  oracle
	trace   io.Writer  // nil: none
	story   io.Writer  // what happened, for people; nil: none
	begun   instant    // when the story began
	listed  member.Set // nodes in the files that were written last
	heard   bool       // the trace has said what the next effects come from
	failure string     // the first violation
	steps   int        // events so far
}

// NewWorld makes a world in which all hosts have power and no process runs.
func NewWorld(s Setup, trace io.Writer) *World {
	w := &World{Setup: s, trace: trace}
	w.noise = rand.New(rand.NewPCG(s.Seed, 1))
	w.network.random = rand.New(rand.NewPCG(s.Seed, 2))
	w.clients.random = rand.New(rand.NewPCG(s.Seed, 3))
	w.network.weather = weather{delayMin: 20 * microsecond, delayMax: w.usualDelay(), loss: s.Noise}
	w.network.slowest = w.network.delayMax
	w.listed = member.Set(1)<<s.Nodes - 1
	for id := 1; id <= s.Nodes+s.Spare; id++ {
		w.hosts = append(w.hosts, newHost(w, id-1, member.NodeID(id)))
	}
	w.oracle.init(w)
	if s.Keep {
		w.queue.push(event{kind: opens})
	}
	return w
}

// config is what the file of a node says at first.
func (w *World) config(id member.NodeID) member.Config {
	c := member.Config{
		Self:       id,
		Listed:     w.listed,
		Weight:     100,
		Interval:   w.Interval,
		Lease:      w.Lease,
		Buckets:    w.Buckets,
		Interfaces: []string{"eth0", "eth1"}[:w.Interfaces],
		Cluster:    1<<(w.Interfaces-w.Beats) - 1,
		Available:  w.Available,
		Keep:       w.Keep,
		HoldUDP:    w.Hold,
		KeepIll:    w.KeepIll,
	}
	if len(w.Weights) > 0 {
		c.Weight = w.Weights[int(id-1)%len(w.Weights)]
	}
	if w.Silent.Has(id) {
		c.Weight = 0
	}
	return c
}

// usualDelay is the longest that the network takes when nothing disturbs it.
func (w *World) usualDelay() instant { return max(w.DelayMax, 20*microsecond) }

// Run lets virtual time pass until an instant, or the first violation.
func (w *World) Run(until instant) {
	for w.failure == "" && w.queue.next() <= until {
		e := w.queue.pop()
		w.steps++
		w.now = e.at
		w.handle(&e)
	}
	if w.failure == "" {
		w.now = max(w.now, until)
		w.oracle.check(w)
	}
}

func (w *World) handle(e *event) {
	h := w.hosts[e.host]
	switch e.kind {
	case arrive:
		w.arrives(h, e)
	case tick:
		w.ticks(h, e)
	case expire:
		w.oracle.refresh(w, h)
	case ripen:
		w.settled()
	case overdue:
		w.oracle.check(w)
	case review:
		for _, h := range w.hosts {
			w.oracle.alone(w, h, w.oracle.active[h.index])
		}
	case wake:
		if e.ref == h.life && h.running() {
			w.catchUp(h)
			w.schedule(h)
		}
	case synced:
		w.synced(h, e.ref)
		w.handOver(h)
	case succeed:
		if e.ref == h.life && h.takeover.state != nil {
			w.succeeds(h)
		}
	case answer:
		if e.ref == h.life && h.process != nil {
			h.proof = true
			w.inform(h)
		}
	case carrier:
		w.inform(h)
	case opens:
		w.open()
	case talks:
		w.packet(int(e.ref))
	default:
		if e.ref == h.life && h.process != nil {
			w.works(h, e.kind)
		}
	}
}

// synced ends a write.
func (w *World) synced(h *host, number uint32) {
	seq, ok := h.disk.finish(number)
	if !ok {
		return
	}
	w.oracle.kept(w, h)
	if h.process != nil {
		h.saved = seq
		w.inform(h)
	}
}

// inform tells a process what it does not know yet, if it can listen.
func (w *World) inform(h *host) {
	if h.running() && h.saved != 0 {
		seq := h.saved
		h.saved = 0
		w.oracle.saved[h.index] = w.now
		w.tracef("%s synced %d", h.name, seq)
		h.process.Synced(h.clock.read(w.now), seq)
		w.perform(h)
	}
	w.tell(h)
	w.hold(h)
	w.reload(h)
	w.heed(h)
	if h.running() && h.proof {
		h.proof = false
		w.oracle.proof[h.index] = h.clock.read(w.now)
		w.tracef("%s evidence", h.name)
		h.process.Evidence(h.clock.read(w.now))
		w.perform(h)
	}
	w.schedule(h)
}

// The effects of a member, in the order in which they are performed.
const (
	lease = iota
	table
	begins // of a lease, or its going on
	store
	sends
	probe
	effects // how many there are
)

// perform does what the member asks for. A process that is to be stopped in
// the middle is stopped after its first few effects, and does the others,
// which were decided on by an old clock, when it goes on.
func (w *World) perform(h *host) {
	fx := h.process.Effects()
	if w.trace != nil {
		w.traceEffects(h, fx)
	}
	if h.tear > 0 && (fx.LeaseSet || fx.TableSet || fx.Store != nil || len(fx.Sends) > 0) {
		h.torn, h.tear = h.tear, 0
		w.do(h, fx, 0, h.torn)
		h.paused = true
		if h.killed {
			w.end(h)
		}
		w.settled()
		return
	}
	w.do(h, fx, 0, effects)
	if h.running() {
		w.schedule(h)
	}
}

func (w *World) do(h *host, fx *member.Effects, first, last int) {
	for stage := first; stage < last; stage++ {
		switch stage {
		case lease:
			if fx.LeaseSet && fx.LeaseDeadline == 0 {
				w.oracle.gaveUp(w, h, fx)
				w.lease(h, fx)
				w.watch(h)
			}
		case table:
			if fx.TableSet {
				before := h.plane
				w.oracle.tabled(w, h, fx)
				h.plane.load(fx.TableEpoch, fx.Table)
				w.loaded(h, before)
			}
			if fx.LeaseSet || fx.TableSet {
				w.oracle.refresh(w, h)
			}
		case begins:
			if fx.LeaseSet && fx.LeaseDeadline != 0 {
				w.lease(h, fx)
				w.oracle.refresh(w, h)
			}
		case store:
			if fx.Store != nil {
				w.oracle.stored(w, h, fx.Store)
				w.store(h, fx.Store, fx.StoreSeq)
			}
		case sends:
			for i := range fx.Sends {
				w.send(h, &fx.Sends[i])
			}
		case probe:
			if fx.Probe && h.outside && h.carrier != 0 {
				w.queue.push(event{at: w.now + draw(w.noise, millisecond/10, 2*millisecond), kind: answer,
					host: uint8(h.index), ref: h.life})
			}
		}
	}
	if fx.Sweep != 0 && last == effects {
		w.asked(h, fx.Sweep)
	}
	if fx.Left && last == effects {
		w.end(h)
		h.plane = plane{}
		w.oracle.refresh(w, h)
	}
}

func (w *World) lease(h *host, fx *member.Effects) {
	w.oracle.leased(w, h, fx)
	h.plane.deadline, h.plane.leaseEpoch = fx.LeaseDeadline, fx.LeaseEpoch
}

func (w *World) send(h *host, s *member.Send) {
	if beat, ok := s.Message.Body.(*member.Heartbeat); ok {
		h.sent, h.sentAt = beat.Sent, w.now
	}
	w.broadcast(h, s.Interfaces, s.Message)
}

// settled is called when something changed that decides who can hear whom.
func (w *World) settled() { w.oracle.conditions(w) }

// fail records the first violation.
func (w *World) fail(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf("%.3f ms: ", float64(w.now)/1e6) + fmt.Sprintf(format, args...)
		w.notef("VIOLATION %s", w.failure)
	}
}
