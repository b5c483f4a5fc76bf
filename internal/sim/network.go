package sim

import (
	"math/rand/v2"

	"github.com/shoal-net/shoal/internal/member"
)

// frame is a copy of a message on its way, shared by all that will get it.
// The last one to get it puts it back into the pool, where it is overwritten:
// a member that kept hold of a message would act on nonsense and be found out.
type frame struct {
	message member.Message
	beat    member.Heartbeat // the body of most frames, kept in place
	refs    int32
	origin  uint8  // index of the host that sent it
	life    uint32 // of its process then
	sentAt  instant
}

// weather is what the whole segment does to frames. Probabilities are in
// millionths.
type weather struct {
	delayMin, delayMax instant
	loss               uint32
	duplicate          uint32
	late               uint32  // frames that take up to lateMax: they overtake nothing and are overtaken
	lateMax            instant // up to many leases: a late frame is as good as a replayed one
	replay             uint32  // frames that are followed by one from the archive
}

// archived is how many old frames are kept for being replayed.
const archived = 32

// network is a set of broadcast segments, one per interface.
type network struct {
	weather
	slowest instant // longest delayMax so far
	random  *rand.Rand
	frames  []*frame
	free    []uint32
	archive [archived]uint32                 // index of a frame + 1
	cut     [maxInterfaces][maxHosts]hostSet // by interface and sender: who does not get it
	loss    [maxHosts][maxHosts]uint32       // by sender and receiver, beside the weather's
}

// copyIn takes a message into the pool.
func (n *network) copyIn(m *member.Message) uint32 {
	if len(n.free) == 0 {
		n.free = append(n.free, uint32(len(n.frames)))
		n.frames = append(n.frames, new(frame))
	}
	i := n.free[len(n.free)-1]
	n.free = n.free[:len(n.free)-1]
	f := n.frames[i]
	f.message, f.refs = *m, 0
	switch body := m.Body.(type) {
	case *member.Heartbeat:
		f.beat = *body
		f.message.Body = &f.beat
	case *member.ViewHeader:
		copied := *body
		f.message.Body = &copied
	case *member.Fetch:
		copied := *body
		f.message.Body = &copied
	case *member.Drained:
		copied := *body
		copied.Bits = append([]byte(nil), body.Bits...)
		f.message.Body = &copied
	case *member.Chunk:
		copied := *body
		copied.Data = append([]byte(nil), body.Data...)
		f.message.Body = &copied
	}
	return i
}

func (n *network) release(i uint32) {
	f := n.frames[i]
	if f.refs--; f.refs == 0 {
		f.beat.Sent, f.beat.Active = 1<<62, member.ViewID{Epoch: 1 << 62}
		n.free = append(n.free, i)
	}
}

// chance draws true with a probability in millionths.
func (n *network) chance(millionths uint32) bool {
	return millionths > 0 && n.random.Uint32N(1_000_000) < millionths
}

// draw returns an instant within [low, high].
func draw(r *rand.Rand, low, high instant) instant {
	if high <= low {
		return low
	}
	return low + r.Int64N(high-low+1)
}

// hears reports whether frames from one host can reach another on an interface.
func (w *World) hears(to, from *host, iface int) bool {
	return from.powered && to.powered && (from.carrier&to.carrier)>>iface&1 == 1 &&
		!w.network.cut[iface][from.index].has(to.index)
}

// broadcast sends a message to all other hosts on some interfaces.
func (w *World) broadcast(from *host, interfaces uint8, m *member.Message) {
	n := &w.network
	i := n.copyIn(m)
	f := n.frames[i]
	f.refs, f.origin, f.life, f.sentAt = 1, uint8(from.index), from.life, w.now
	for iface := range w.Interfaces {
		if interfaces>>iface&1 == 0 {
			continue
		}
		for _, to := range w.hosts {
			if to != from && w.hears(to, from, iface) {
				w.transmit(i, from, to, iface)
			}
		}
	}
	if n.weather.replay > 0 {
		w.rewind(i)
	}
	n.release(i)
}

// transmit sends one copy of a frame on its way to one host.
func (w *World) transmit(i uint32, from, to *host, iface int) {
	n := &w.network
	if n.chance(n.weather.loss) || n.chance(n.loss[from.index][to.index]) {
		return
	}
	copies := 1
	if n.chance(n.duplicate) {
		copies = 2
	}
	for range copies {
		delay := draw(n.random, n.delayMin, n.delayMax)
		if n.chance(n.late) {
			delay += draw(n.random, 0, n.lateMax)
		}
		n.frames[i].refs++
		w.queue.push(event{at: w.now + delay, kind: arrive, ref: i, host: uint8(to.index), iface: uint8(iface)})
	}
}

// rewind keeps frames and sends old ones again, to anyone, on any interface:
// what a recording on the segment could do.
func (w *World) rewind(i uint32) {
	n := &w.network
	if slot := n.random.IntN(4 * archived); slot < archived {
		n.keep(slot, i)
	}
	if n.chance(n.weather.replay) {
		w.replay()
	}
}

func (n *network) keep(slot int, i uint32) {
	if old := n.archive[slot]; old != 0 {
		n.release(old - 1)
	}
	n.frames[i].refs++
	n.archive[slot] = i + 1
}

// replay sends one frame of the archive to every host that is reachable at all.
func (w *World) replay() {
	n := &w.network
	slot := n.random.IntN(archived)
	if n.archive[slot] == 0 {
		return
	}
	iface := n.random.IntN(w.Interfaces)
	for _, to := range w.hosts {
		if to.powered && to.carrier>>iface&1 == 1 {
			n.frames[n.archive[slot]-1].refs++
			w.queue.push(event{at: w.now + n.delayMin, kind: arrive, ref: n.archive[slot] - 1,
				host: uint8(to.index), iface: uint8(iface)})
		}
	}
}
