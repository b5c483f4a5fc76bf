package member

import (
	"encoding/binary"
	"net/netip"
)

// The UDP flows that old owners keep are known to agents, which pass them on in
// messages of their own, each for one view: the new owner's agent asks, the old
// owner's answers (clause T6).

// Acquired calls each for the buckets that this node owns, or is to own, while
// old owners have flows of them, with those; in the view in force, which it
// returns. unknown are those whose UDP flows are not known here, and are to be:
// ask them, and report it with Frozen.
func (m *Member) Acquired(each func(bucket int, old Set)) (view ViewID, unknown Set) {
	if m.active == nil {
		return view, 0
	}
	view = m.active.ID()
	if m.tabled != m.active || !m.cfg.Keep || !m.cfg.HoldUDP {
		return view, 0
	}
	for _, move := range m.active.Moves {
		b := int(move.Bucket)
		old := m.without(b, move.Old)
		if m.active.Owners[b] != m.cfg.Self || old == 0 {
			continue
		}
		each(b, old)
		if s := m.states[b]; s != owned && s != acquiring {
			unknown |= old &^ m.frozen &^ m.waiting
		}
	}
	return view, unknown
}

// InForce returns the view in force; zero: none is.
func (m *Member) InForce() ViewID {
	if m.active == nil {
		return ViewID{}
	}
	return m.active.ID()
}

// Pass returns a message of the agent's to all nodes, none while this node must
// keep still.
func (m *Member) Pass(now Time, body Body) (s Send, ok bool) {
	m.begin(now)
	if m.mute() || m.left || m.impostor() {
		return s, false
	}
	return Send{0xff, &Message{From: m.cfg.Self, Incarnation: m.incarnation, Body: body}}, true
}

// Flow is a UDP flow, from its client's end.
type Flow struct {
	Client, Server netip.AddrPort
	Bucket         uint16
}

// Sizes of an encoded flow.
const (
	flowSize4 = 1 + 2 + 2*(4+2)
	flowSize6 = 1 + 2 + 2*(16+2)
)

// AppendFlow appends a flow: 4 or 6, the version of IP; the bucket (2); the
// client's address (4 or 16) and port (2); the server's likewise. Integers are big
// endian.
func AppendFlow(b []byte, f Flow) []byte {
	version := byte(6)
	if f.Client.Addr().Is4() {
		version = 4
	}
	b = binary.BigEndian.AppendUint16(append(b, version), f.Bucket)
	for _, end := range [...]netip.AddrPort{f.Client, f.Server} {
		b = binary.BigEndian.AppendUint16(append(b, end.Addr().AsSlice()...), end.Port())
	}
	return b
}

// DecodeFlows calls each for flows that AppendFlow wrote one after the other.
// Anything else is ErrMalformed.
func DecodeFlows(b []byte, each func(Flow)) error {
	for len(b) > 0 {
		size, length := flowSize6, 16
		if b[0] == 4 {
			size, length = flowSize4, 4
		} else if b[0] != 6 {
			return malformed("flow of IP version %d", b[0])
		}
		if len(b) < size {
			return malformed("flow of %d bytes", len(b))
		}
		end := func(from int) netip.AddrPort {
			addr, _ := netip.AddrFromSlice(b[from : from+length])
			return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[from+length:]))
		}
		each(Flow{end(3), end(3 + length + 2), binary.BigEndian.Uint16(b[1:])})
		b = b[size:]
	}
	return nil
}
