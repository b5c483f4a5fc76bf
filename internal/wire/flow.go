package wire

import (
	"encoding/binary"

	"github.com/shoal-net/shoal/internal/member"
)

// Between a heartbeat process and its agent the same bodies travel without a
// frame: one byte of kind, one of the node that sends, the body.

// AppendPassed appends a message for another process of the same host.
func AppendPassed(dst []byte, from member.NodeID, body member.Body) []byte {
	return appendBody(append(dst, kindOf(body), from), body)
}

// DecodePassed reads one. Its message has no incarnation.
func DecodePassed(b []byte, into *Decoded) error {
	if len(b) < 2 {
		return malformed("%d bytes of another process", len(b))
	}
	into.Message = member.Message{From: b[1]}
	return into.decodeBody(b[0], b[2:])
}

// IsPassed tells such messages from the text that the two processes send else.
func IsPassed(b []byte) bool { return len(b) > 0 && b[0] <= kindFlowChunk }

func appendFlowFetch(b []byte, f *member.FlowFetch) []byte {
	b = f.View.AppendBinary(append(b, f.To))
	b = binary.BigEndian.AppendUint64(b, uint64(f.After))
	return binary.BigEndian.AppendUint16(b, f.From)
}

func decodeFlowFetch(b []byte, f *member.FlowFetch) error {
	if len(b) < flowFetchSize {
		return malformed("flow fetch of %d bytes", len(b))
	}
	r := reader(b)
	*f = member.FlowFetch{To: r.uint8(), View: r.viewID(), After: member.Time(r.uint64()), From: r.uint16()}
	if f.To == 0 || f.To > member.MaxNodes || f.View.Epoch == 0 || !f.View.Valid() || f.After < 0 {
		return malformed("flow fetch of view %#x after %v from node %d", uint64(f.View.Epoch), f.After, f.To)
	}
	return nil
}

func appendFlowChunk(b []byte, c *member.FlowChunk) []byte {
	b = c.View.AppendBinary(b)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Taken))
	b = binary.BigEndian.AppendUint16(b, c.Index)
	b = binary.BigEndian.AppendUint16(b, c.Total)
	b = binary.BigEndian.AppendUint16(b, uint16(len(c.Data)))
	return append(b, c.Data...)
}

func (d *Decoded) decodeFlowChunk(b []byte) error {
	if len(b) < flowChunkSize {
		return malformed("flow chunk of %d bytes", len(b))
	}
	r := reader(b)
	c := &d.flowChunk
	*c = member.FlowChunk{View: r.viewID(), Taken: member.Time(r.uint64()), Index: r.uint16(), Total: r.uint16()}
	size := int(r.uint16())
	switch {
	case c.View.Epoch == 0 || !c.View.Valid():
		return malformed("flow chunk of view %#x", uint64(c.View.Epoch))
	case c.Taken <= 0:
		return malformed("flow chunk of a list from before the start of the clock")
	case c.Index >= c.Total:
		return malformed("flow chunk %d of %d", c.Index, c.Total)
	case size > member.ChunkSize || size > len(r):
		return malformed("flow chunk %d of %d with %d bytes of flows", c.Index, c.Total, size)
	}
	c.Data = d.data[:copy(d.data[:], r[:size])]
	return member.DecodeFlows(c.Data, func(member.Flow) {})
}
