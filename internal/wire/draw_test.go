package wire

import (
	"bytes"
	"net/netip"
	"time"

	"pgregory.net/rapid"

	"github.com/shoal-net/shoal/internal/member"
)

// drawViewID draws the name of a view; zero is one only where it may be.
func drawViewID(t *rapid.T, zero bool) member.ViewID {
	if zero && rapid.Bool().Draw(t, "no view") {
		return member.ViewID{}
	}
	return member.ViewID{
		Epoch:  member.Epoch(rapid.Uint64Max(1<<40).Draw(t, "round")<<8 | uint64(drawNode(t))),
		Digest: member.Digest(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "digest")),
	}
}

func drawNode(t *rapid.T) member.NodeID { return rapid.Uint8Range(1, member.MaxNodes).Draw(t, "node") }

func drawTime(t *rapid.T) time.Duration {
	return time.Duration(rapid.Int64Min(0).Draw(t, "time"))
}

func drawHeartbeat(t *rapid.T) *member.Heartbeat {
	h := &member.Heartbeat{
		Previous:  member.Incarnation(rapid.Uint64().Draw(t, "previous")),
		Sent:      drawTime(t),
		State:     member.State(rapid.Uint8Max(uint8(member.Fenced)).Draw(t, "state")),
		Fit:       rapid.Bool().Draw(t, "fit"),
		Amnesiac:  rapid.Bool().Draw(t, "amnesiac"),
		Listed:    member.Set(rapid.Uint64().Draw(t, "listed")),
		Settings:  member.Settings(rapid.SliceOfN(rapid.Uint32(), 16, 16).Draw(t, "settings")),
		Carrier:   rapid.Uint8().Draw(t, "carrier"),
		Ended:     member.Set(rapid.Uint64().Draw(t, "ended")),
		Acting:    member.Set(rapid.Uint64().Draw(t, "acting")),
		Suspects:  member.Set(rapid.Uint64().Draw(t, "suspects")),
		Weight:    rapid.Uint16Max(member.MaxWeight).Draw(t, "weight"),
		Limit:     rapid.Uint16Max(member.MaxWeight).Draw(t, "limit"),
		Order:     member.Order{Kind: member.OrderKind(rapid.Uint8Max(4).Draw(t, "order")), Node: drawNode(t), Weight: rapid.Uint16Max(member.MaxWeight).Draw(t, "ordered")},
		Promised:  drawViewID(t, true).Epoch,
		Accepted:  drawViewID(t, true),
		Grants:    rapid.Uint64().Draw(t, "grants"),
		Granted:   member.Set(rapid.Uint64().Draw(t, "granted")),
		Active:    drawViewID(t, true),
		Lineage:   rapid.Uint64().Draw(t, "lineage"),
		LeaseLeft: time.Duration(rapid.Int64().Draw(t, "lease left")),
		Lateness:  drawTime(t),
	}
	echoed := rapid.Uint64().Draw(t, "echoed")
	for i := range h.Echoes {
		if echoed>>i&1 == 1 {
			h.Echoes[i] = member.Echo{
				Incarnation: member.Incarnation(rapid.Uint64().Draw(t, "incarnation")),
				Sent:        drawTime(t),
				Heard:       rapid.Uint8().Draw(t, "heard"),
			}
		}
	}
	return h
}

func drawView(t *rapid.T) *member.ViewHeader {
	h := &member.ViewHeader{
		Epoch:     drawViewID(t, false).Epoch,
		Voters:    member.Set(rapid.Uint64Min(1).Draw(t, "voters")),
		OldVoters: member.Set(rapid.Uint64Min(1).Draw(t, "old voters")),
		Reason:    rapid.StringOfN(rapid.RuneFrom([]rune("abc 0é")), 0, -1, member.MaxReason).Draw(t, "reason"),
	}
	for range rapid.IntRange(0, 64).Draw(t, "members") {
		h.Members[drawNode(t)-1] = member.Entry{Incarnation: 1, State: member.Serving, Weight: 100}
	}
	return h
}

func drawChunk(t *rapid.T) *member.Chunk {
	c := &member.Chunk{
		View:  drawViewID(t, false),
		Total: rapid.Uint16Min(1).Draw(t, "total"),
	}
	c.Index = rapid.Uint16Max(c.Total-1).Draw(t, "index")
	size := member.ChunkSize
	if c.Index+1 == c.Total {
		size = rapid.IntRange(1, member.ChunkSize).Draw(t, "size")
	}
	c.Data = bytes.Repeat([]byte{rapid.Byte().Draw(t, "data")}, size)
	return c
}

func drawFlow(t *rapid.T) member.Flow {
	size := rapid.SampledFrom([]int{4, 16}).Draw(t, "size")
	end := func() netip.AddrPort {
		addr, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "address"))
		return netip.AddrPortFrom(addr, rapid.Uint16().Draw(t, "port"))
	}
	return member.Flow{Client: end(), Server: end(), Bucket: rapid.Uint16().Draw(t, "bucket")}
}

func drawFlowChunk(t *rapid.T) *member.FlowChunk {
	c := &member.FlowChunk{View: drawViewID(t, false), Taken: 1 + drawTime(t)/2, Total: rapid.Uint16Min(1).Draw(t, "total"), Data: []byte{}}
	c.Index = rapid.Uint16Max(c.Total-1).Draw(t, "index")
	for range rapid.IntRange(0, 27).Draw(t, "flows") {
		c.Data = member.AppendFlow(c.Data, drawFlow(t))
	}
	return c
}

func drawMessage(t *rapid.T) *member.Message {
	m := &member.Message{From: drawNode(t), Incarnation: member.Incarnation(rapid.Uint64Min(1).Draw(t, "incarnation"))}
	switch rapid.IntRange(kindHeartbeat, kindFlowChunk).Draw(t, "kind") {
	case kindHeartbeat:
		m.Body = drawHeartbeat(t)
	case kindView:
		m.Body = drawView(t)
	case kindFetch:
		m.Body = &member.Fetch{To: drawNode(t), View: drawViewID(t, false), From: rapid.Uint16().Draw(t, "from")}
	case kindChunk:
		m.Body = drawChunk(t)
	case kindDrained:
		m.Body = &member.Drained{
			View: drawViewID(t, false), From: rapid.Uint16Max(7).Draw(t, "from") * 8 * member.ChunkSize,
			Bits: rapid.SliceOfN(rapid.Byte(), 1, member.ChunkSize).Draw(t, "bits"),
		}
	case kindFlowFetch:
		m.Body = &member.FlowFetch{To: drawNode(t), View: drawViewID(t, false), After: drawTime(t), From: rapid.Uint16().Draw(t, "from")}
	case kindFlowChunk:
		m.Body = drawFlowChunk(t)
	}
	return m
}
