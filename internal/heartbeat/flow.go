package heartbeat

import (
	"encoding/binary"

	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/member"
	"github.com/shoal-net/shoal/internal/wire"
)

// Acquired is which buckets this node gets, or has got, from owners that have
// flows of them still, in one view.
type Acquired struct {
	View    member.ViewID `json:"view"`
	Unknown member.Set    `json:"unknown"` // whose UDP flows are to be asked for: see Process.Frozen
	Moves   []byte        `json:"moves"`   // 10 bytes each, big endian: bucket (2), set of old owners (8)
}

func (a *Acquired) add(bucket int, old member.Set) {
	a.Moves = binary.BigEndian.AppendUint16(a.Moves, uint16(bucket))
	a.Moves = binary.BigEndian.AppendUint64(a.Moves, uint64(old))
}

// Each calls each for the buckets, with the old owners that are not done with them.
func (a *Acquired) Each(each func(bucket int, old member.Set)) {
	for b := a.Moves; len(b) >= 10; b = b[10:] {
		each(int(binary.BigEndian.Uint16(b)), member.Set(binary.BigEndian.Uint64(b[2:])))
	}
}

// frozen is of whom this node knows the UDP flows.
type frozen struct {
	View member.ViewID `json:"view"`
	From member.NodeID `json:"from"`
}

// acquired is what the agent was told last of the buckets that come here.
type acquired struct {
	view    member.ViewID
	unknown member.Set
	fewer   bool // there may be fewer by now
}

// due reports whether the agent is to be told again: at once where that says whom
// to ask for flows. That there are fewer buckets, which frees flows that nobody
// has, waits for housekeeping. So does what the agent may have missed.
func (l *acquired) due(view member.ViewID, unknown member.Set, housekeeping bool) bool {
	changed := view != l.view || unknown != l.unknown
	if changed || housekeeping && (l.fewer || unknown != 0) {
		*l = acquired{view: view, unknown: unknown}
		return true
	}
	l.fewer = l.fewer || !housekeeping
	return false
}

// tellAcquired tells the agent which buckets come here, after the table may have
// changed, and in housekeeping.
func (p *process) tellAcquired(housekeeping bool) {
	if !p.cluster.KeepsUDP() {
		return
	}
	if view, unknown := p.m.Acquired(func(int, member.Set) {}); p.acquired.due(view, unknown, housekeeping) {
		a := Acquired{}
		a.View, a.Unknown = p.m.Acquired(a.add)
		p.agent.tell(Event{Kind: acquires, Acquired: &a})
	}
}

// passIn gives the agent what others say to it. Of other views than the one in
// force here it has no use for anything.
func (p *process) passIn(m *member.Message) {
	if !p.cluster.KeepsUDP() {
		return
	}
	switch body := m.Body.(type) {
	case *member.FlowFetch:
		if int(body.To) != p.cluster.Self || body.View != p.m.InForce() {
			return
		}
	case *member.FlowChunk:
		if body.View != p.m.InForce() {
			return
		}
	default:
		return
	}
	p.payload = wire.AppendPassed(p.payload[:0], m.From, m.Body)
	p.agent.pass(p.payload)
}

// passOut says to others what the agent does.
func (p *process) passOut(data []byte) {
	if err := wire.DecodePassed(data, &p.message); err != nil {
		p.warn("understand the agent: %v", err)
		return
	}
	if s, ok := p.m.Pass(dataplane.Now(), p.message.Message.Body); ok {
		p.send(s)
	}
}
