package wire

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"time"

	"github.com/shoal-net/shoal/internal/member"
)

// Kinds of bodies.
const (
	kindHeartbeat = 1
	kindView      = 2
	kindFetch     = 3
	kindChunk     = 4
	kindDrained   = 5
	kindFlowFetch = 6
	kindFlowChunk = 7
)

// Sizes of bodies without what is of no fixed length.
const (
	heartbeatSize = 227
	echoSize      = 17
	viewSize      = 2
	fetchSize     = 27
	chunkSize     = 30
	drainedSize   = 28
	flowFetchSize = 35
	flowChunkSize = 38
)

const (
	flagFit      = 1 << 0
	flagAmnesiac = 1 << 1
	flagAlone    = 1 << 2
)

func kindOf(body member.Body) byte {
	switch body.(type) {
	case *member.Heartbeat:
		return kindHeartbeat
	case *member.ViewHeader:
		return kindView
	case *member.Fetch:
		return kindFetch
	case *member.Chunk:
		return kindChunk
	case *member.Drained:
		return kindDrained
	case *member.FlowFetch:
		return kindFlowFetch
	case *member.FlowChunk:
		return kindFlowChunk
	}
	panic(fmt.Sprintf("wire: a message with %T as its body", body))
}

func appendBody(b []byte, body member.Body) []byte {
	switch body := body.(type) {
	case *member.Heartbeat:
		return appendHeartbeat(b, body)
	case *member.ViewHeader:
		at := len(b)
		b = body.AppendBinary(append(b, 0, 0))
		binary.BigEndian.PutUint16(b[at:], uint16(len(b)-at-viewSize))
	case *member.Fetch:
		b = body.View.AppendBinary(append(b, body.To))
		b = binary.BigEndian.AppendUint16(b, body.From)
	case *member.Chunk:
		b = body.View.AppendBinary(b)
		b = binary.BigEndian.AppendUint16(b, body.Index)
		b = binary.BigEndian.AppendUint16(b, body.Total)
		b = binary.BigEndian.AppendUint16(b, uint16(len(body.Data)))
		b = append(b, body.Data...)
	case *member.Drained:
		b = body.View.AppendBinary(b)
		b = binary.BigEndian.AppendUint16(b, body.From)
		b = binary.BigEndian.AppendUint16(b, uint16(len(body.Bits)))
		b = append(b, body.Bits...)
	case *member.FlowFetch:
		b = appendFlowFetch(b, body)
	case *member.FlowChunk:
		b = appendFlowChunk(b, body)
	}
	return b
}

func appendHeartbeat(b []byte, h *member.Heartbeat) []byte {
	flags := byte(0)
	if h.Fit {
		flags |= flagFit
	}
	if h.Alone {
		flags |= flagAlone
	}
	if h.Amnesiac {
		flags |= flagAmnesiac
	}
	b = binary.BigEndian.AppendUint64(b, uint64(h.Previous))
	b = binary.BigEndian.AppendUint64(b, uint64(h.Sent))
	b = append(b, byte(h.State), flags, h.Carrier)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Listed))
	for _, s := range h.Settings {
		b = binary.BigEndian.AppendUint32(b, s)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(h.Suspects))
	b = binary.BigEndian.AppendUint16(b, h.Weight)
	b = binary.BigEndian.AppendUint16(b, h.Limit)
	b = append(b, byte(h.Order.Kind), h.Order.Node)
	b = binary.BigEndian.AppendUint16(b, h.Order.Weight)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Promised))
	b = h.Accepted.AppendBinary(b)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Ended))
	b = binary.BigEndian.AppendUint64(b, h.Grants)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Granted))
	b = h.Active.AppendBinary(b)
	b = binary.BigEndian.AppendUint64(b, h.Lineage)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Acting))
	b = binary.BigEndian.AppendUint64(b, uint64(h.LeaseLeft))
	b = binary.BigEndian.AppendUint64(b, uint64(h.Lateness))
	at, echoed := len(b), uint64(0)
	b = binary.BigEndian.AppendUint64(b, 0)
	for i := range h.Echoes {
		e := &h.Echoes[i]
		if *e == (member.Echo{}) {
			continue
		}
		echoed |= 1 << i
		b = binary.BigEndian.AppendUint64(b, uint64(e.Incarnation))
		b = binary.BigEndian.AppendUint64(b, uint64(e.Sent))
		b = append(b, e.Heard)
	}
	binary.BigEndian.PutUint64(b[at:], echoed)
	return b
}

// decodeBody reads a body and makes it the message's.
func (d *Decoded) decodeBody(kind byte, b []byte) error {
	m := &d.Message
	switch kind {
	case kindHeartbeat:
		m.Body = &d.heartbeat
		return decodeHeartbeat(b, &d.heartbeat)
	case kindView:
		m.Body = &d.view
		if len(b) < viewSize || len(b)-viewSize < int(binary.BigEndian.Uint16(b)) {
			return malformed("view of %d bytes", len(b))
		}
		return d.view.DecodeBinary(b[viewSize:][:binary.BigEndian.Uint16(b)])
	case kindFetch:
		m.Body = &d.fetch
		return decodeFetch(b, &d.fetch)
	case kindChunk:
		m.Body = &d.chunk
		return d.decodeChunk(b)
	case kindDrained:
		m.Body = &d.drained
		return d.decodeDrained(b)
	case kindFlowFetch:
		m.Body = &d.flowFetch
		return decodeFlowFetch(b, &d.flowFetch)
	case kindFlowChunk:
		m.Body = &d.flowChunk
		return d.decodeFlowChunk(b)
	}
	return malformed("kind %d", kind)
}

// reader takes the front off a body. Whether there is enough of it is checked
// before.
type reader []byte

func (r *reader) uint8() uint8 {
	v := (*r)[0]
	*r = (*r)[1:]
	return v
}

func (r *reader) uint16() uint16 {
	v := binary.BigEndian.Uint16(*r)
	*r = (*r)[2:]
	return v
}

func (r *reader) uint32() uint32 {
	v := binary.BigEndian.Uint32(*r)
	*r = (*r)[4:]
	return v
}

func (r *reader) uint64() uint64 {
	v := binary.BigEndian.Uint64(*r)
	*r = (*r)[8:]
	return v
}

func (r *reader) viewID() member.ViewID {
	id := member.ViewID{Epoch: member.Epoch(r.uint64())}
	*r = (*r)[copy(id.Digest[:], *r):]
	return id
}

func decodeHeartbeat(b []byte, h *member.Heartbeat) error {
	if len(b) < heartbeatSize {
		return malformed("heartbeat of %d bytes", len(b))
	}
	r := reader(b)
	h.Previous = member.Incarnation(r.uint64())
	h.Sent = member.Time(r.uint64())
	h.State = member.State(r.uint8())
	flags := r.uint8()
	h.Fit, h.Amnesiac, h.Alone = flags&flagFit != 0, flags&flagAmnesiac != 0, flags&flagAlone != 0
	h.Carrier = r.uint8()
	h.Listed = member.Set(r.uint64())
	for i := range h.Settings {
		h.Settings[i] = r.uint32()
	}
	h.Suspects = member.Set(r.uint64())
	h.Weight = r.uint16()
	h.Limit = r.uint16()
	h.Order = member.Order{Kind: member.OrderKind(r.uint8()), Node: r.uint8(), Weight: r.uint16()}
	h.Promised = member.Epoch(r.uint64())
	h.Accepted = r.viewID()
	h.Ended = member.Set(r.uint64())
	h.Grants = r.uint64()
	h.Granted = member.Set(r.uint64())
	h.Active = r.viewID()
	h.Lineage = r.uint64()
	h.Acting = member.Set(r.uint64())
	h.LeaseLeft = time.Duration(r.uint64())
	h.Lateness = time.Duration(r.uint64())
	echoed := r.uint64()
	if len(r) < bits.OnesCount64(echoed)*echoSize {
		return malformed("heartbeat: cut off in the echoes")
	}
	clear(h.Echoes[:])
	for ; echoed != 0; echoed &= echoed - 1 {
		e := &h.Echoes[bits.TrailingZeros64(echoed)]
		e.Incarnation = member.Incarnation(r.uint64())
		e.Sent = member.Time(r.uint64())
		e.Heard = r.uint8()
		if e.Sent < 0 {
			return malformed("heartbeat: an echo from before the start of the clock")
		}
	}
	return check(h)
}

// check says what is wrong with a heartbeat that was read.
func check(h *member.Heartbeat) error {
	switch {
	case h.State > member.Fenced:
		return malformed("heartbeat: state %d", h.State)
	case h.Weight > member.MaxWeight || h.Limit > member.MaxWeight:
		return malformed("heartbeat: weight %d of at most %d", h.Weight, h.Limit)
	case h.Order.Kind > member.ResetWeight || h.Order.Node > member.MaxNodes || h.Order.Weight > member.MaxWeight:
		return malformed("heartbeat: order %v", h.Order)
	case h.Sent < 0 || h.Lateness < 0:
		return malformed("heartbeat: sent at %v, %v late", h.Sent, h.Lateness)
	case !h.Promised.Valid() || !h.Accepted.Valid() || !h.Active.Valid():
		return malformed("heartbeat: epochs %#x, %#x, %#x",
			uint64(h.Promised), uint64(h.Accepted.Epoch), uint64(h.Active.Epoch))
	}
	return nil
}

func decodeFetch(b []byte, f *member.Fetch) error {
	if len(b) < fetchSize {
		return malformed("fetch of %d bytes", len(b))
	}
	r := reader(b)
	*f = member.Fetch{To: r.uint8(), View: r.viewID(), From: r.uint16()}
	if f.To == 0 || f.To > member.MaxNodes || f.View.Epoch == 0 || !f.View.Valid() {
		return malformed("fetch of view %#x from node %d", uint64(f.View.Epoch), f.To)
	}
	return nil
}

func (d *Decoded) decodeChunk(b []byte) error {
	if len(b) < chunkSize {
		return malformed("chunk of %d bytes", len(b))
	}
	r := reader(b)
	c := &d.chunk
	*c = member.Chunk{View: r.viewID(), Index: r.uint16(), Total: r.uint16()}
	size := int(r.uint16())
	last := c.Index+1 == c.Total
	switch {
	case c.View.Epoch == 0 || !c.View.Valid():
		return malformed("chunk of view %#x", uint64(c.View.Epoch))
	case c.Index >= c.Total:
		return malformed("chunk %d of %d", c.Index, c.Total)
	case size == 0 || size > member.ChunkSize || size < member.ChunkSize && !last || size > len(r):
		return malformed("chunk %d of %d with %d bytes of data", c.Index, c.Total, size)
	}
	c.Data = d.data[:copy(d.data[:], r[:size])]
	return nil
}

func (d *Decoded) decodeDrained(b []byte) error {
	if len(b) < drainedSize {
		return malformed("drained buckets in %d bytes", len(b))
	}
	r := reader(b)
	m := &d.drained
	*m = member.Drained{View: r.viewID(), From: r.uint16()}
	size := int(r.uint16())
	switch {
	case m.View.Epoch == 0 || !m.View.Valid():
		return malformed("drained buckets of view %#x", uint64(m.View.Epoch))
	case size == 0 || size > member.ChunkSize || size > len(r) || m.From%(8*member.ChunkSize) != 0:
		return malformed("drained buckets from %d on with %d bytes", m.From, size)
	}
	m.Bits = d.data[:copy(d.data[:], r[:size])]
	return nil
}
