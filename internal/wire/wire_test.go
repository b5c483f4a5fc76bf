package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/shoal-net/shoal/internal/member"
)

const (
	oldKey = "0123456789abcdef"
	newKey = "another key of a cluster"
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

func TestRoundTrip(t *testing.T) {
	var into Decoded // the same memory for all: nothing may be left of the one before
	rapid.Check(t, func(t *rapid.T) {
		m := drawMessage(t)
		c := New("web", []string{oldKey})
		frame := c.Append([]byte("before"), m)[len("before"):]
		if len(frame) > MaxFrame {
			t.Errorf("%d bytes", len(frame))
		}
		if err := c.Decode(frame, &into); err != nil {
			t.Fatal(err)
		}
		clear(frame) // nothing of the message may lie in it
		if diff := cmp.Diff(*m, into.Message); diff != "" {
			t.Error(diff)
		}
	})
}

// TestTrailing puts bytes behind the body, as a later version may.
func TestTrailing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMessage(t)
		c := New("web", nil)
		frame := c.Append(nil, m)
		frame = append(frame[:len(frame)-macSize], rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "trailing")...)
		frame[offsetLowest-1]++
		var into Decoded
		if err := c.Decode(seal(c, frame), &into); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(*m, into.Message); diff != "" {
			t.Error(diff)
		}
	})
}

// seal adds the code to a frame that has none.
func seal(c *Codec, frame []byte) []byte {
	return append(frame, c.authenticate(&c.keys[0], frame)...)
}

func TestSizes(t *testing.T) {
	heartbeat, view := &member.Heartbeat{}, &member.ViewHeader{Epoch: 1, Voters: 1, OldVoters: 1}
	for i := range member.MaxNodes {
		heartbeat.Echoes[i].Sent = 1
		view.Members[i].Weight = 1
	}
	view.Reason = strings.Repeat("x", member.MaxReason)
	c := New("web", nil)
	for _, tt := range []struct {
		body member.Body
		want int
	}{
		{&member.Heartbeat{}, 268},
		{heartbeat, 1356},
		{view, 1261},
		{&member.Fetch{}, 68},
		{&member.Chunk{Data: make([]byte, member.ChunkSize)}, 1095},
		{&member.FlowFetch{}, 76},
		{&member.FlowChunk{Data: make([]byte, member.ChunkSize)}, 1103},
	} {
		n := len(c.Append(nil, &member.Message{From: 1, Incarnation: 1, Body: tt.body}))
		if n != tt.want || n > MaxFrame {
			t.Errorf("%T: %d bytes, want %d, at most %d", tt.body, n, tt.want, MaxFrame)
		}
	}
}

func TestNoMessageWithoutBody(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a message without a body was written")
		}
	}()
	New("web", nil).Append(nil, &member.Message{From: 1, Incarnation: 1})
}

func TestDamaged(t *testing.T) {
	c := New("web", []string{oldKey, newKey})
	var into Decoded
	for _, m := range samples() {
		frame := c.Append(nil, &m)
		for n := range frame {
			if c.Decode(frame[:n], &into) == nil {
				t.Errorf("%T: %d of %d bytes are taken", m.Body, n, len(frame))
			}
		}
		if c.Decode(append(bytes.Clone(frame), 0), &into) == nil {
			t.Errorf("%T: a byte more is taken", m.Body)
		}
		for bit := range 8 * len(frame) {
			frame[bit/8] ^= 1 << (bit % 8)
			if c.Decode(frame, &into) == nil {
				t.Errorf("%T: bit %d is turned and it is taken", m.Body, bit)
			}
			frame[bit/8] ^= 1 << (bit % 8)
		}
		if err := c.Decode(frame, &into); err != nil {
			t.Errorf("%T: %v", m.Body, err)
		}
	}
}

func TestErrors(t *testing.T) {
	c := New("web", []string{oldKey})
	m := samples()[0]
	for name, tt := range map[string]struct {
		frame []byte
		want  error
	}{
		"nothing":            {nil, ErrTruncated},
		"the first bytes":    {[]byte("shol"), ErrTruncated},
		"without its code":   {c.Append(nil, &m)[:offsetBody+macSize-1], ErrTruncated},
		"cut off":            {c.Append(nil, &m)[:100], ErrKey},
		"something else":     {[]byte("GET / HTTP/1.1\r\n"), ErrMagic},
		"a byte":             {[]byte("x"), ErrMagic},
		"newer":              {edit(c, &m, func(b []byte) { b[offsetLowest] = version + 1 }), ErrVersion},
		"newer and short":    {[]byte("shol\x03\x02"), ErrVersion},
		"another cluster":    {New("db", []string{oldKey}).Append(nil, &m), ErrCluster},
		"another key":        {New("web", []string{newKey}).Append(nil, &m), ErrKey},
		"no key":             {New("web", nil).Append(nil, &m), ErrKey},
		"the name as a key":  {New("web", []string{"web"}).Append(nil, &m), ErrKey},
		"sender 0":           {edit(c, &m, func(b []byte) { b[offsetKind+1] = 0 }), ErrMalformed},
		"sender 65":          {edit(c, &m, func(b []byte) { b[offsetKind+1] = 65 }), ErrMalformed},
		"no incarnation":     {edit(c, &m, func(b []byte) { clear(b[offsetKind+2 : offsetBody]) }), ErrMalformed},
		"kind 0":             {edit(c, &m, func(b []byte) { b[offsetKind] = 0 }), ErrMalformed},
		"kind 5":             {edit(c, &m, func(b []byte) { b[offsetKind] = 5 }), ErrMalformed},
		"a body of no bytes": {seal(c, c.Append(nil, &m)[:offsetBody]), ErrMalformed},
	} {
		var into Decoded
		if err := c.Decode(tt.frame, &into); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
	}
}

// edit returns the frame of a message after a change that its code covers.
func edit(c *Codec, m *member.Message, change func(frame []byte)) []byte {
	frame := c.Append(nil, m)
	frame = frame[:len(frame)-macSize]
	change(frame)
	return seal(c, frame)
}

// TestShortBodies cuts bodies off and puts the right code behind.
func TestShortBodies(t *testing.T) {
	c := New("web", nil)
	var into Decoded
	for _, m := range samples() {
		frame := c.Append(nil, &m)
		for n := offsetBody; n < len(frame)-macSize; n++ {
			if err := c.Decode(seal(c, bytes.Clone(frame[:n])), &into); !errors.Is(err, ErrMalformed) {
				t.Errorf("%T of %d bytes: %v", m.Body, n-offsetBody, err)
			}
		}
	}
}

func TestMalformed(t *testing.T) {
	id := member.ViewID{Epoch: 0x101, Digest: member.Digest{1}}
	data := make([]byte, member.ChunkSize)
	c := New("web", nil)
	for name, body := range map[string]member.Body{
		"state":               &member.Heartbeat{State: member.Fenced + 1},
		"weight":              &member.Heartbeat{Weight: member.MaxWeight + 1},
		"sent":                &member.Heartbeat{Sent: -1},
		"lateness":            &member.Heartbeat{Lateness: -1},
		"promised":            &member.Heartbeat{Promised: 0x100},
		"accepted":            &member.Heartbeat{Accepted: member.ViewID{Epoch: 0x141}},
		"active":              &member.Heartbeat{Active: member.ViewID{Digest: id.Digest}},
		"echo":                &member.Heartbeat{Echoes: [member.MaxNodes]member.Echo{63: {Sent: -1}}},
		"view":                &member.ViewHeader{Epoch: 0x101},
		"fetch from nobody":   &member.Fetch{View: id},
		"fetch from 65":       &member.Fetch{To: 65, View: id},
		"fetch of nothing":    &member.Fetch{To: 1},
		"fetch of no view":    &member.Fetch{To: 1, View: member.ViewID{Epoch: 0x100}},
		"chunk of nothing":    &member.Chunk{Total: 1, Data: data},
		"chunk of no view":    &member.Chunk{View: member.ViewID{Epoch: 0x100}, Total: 1, Data: data},
		"chunk 0 of 0":        &member.Chunk{View: id, Data: data},
		"chunk 65535 of 0":    &member.Chunk{View: id, Index: 65535, Data: data},
		"chunk 1 of 1":        &member.Chunk{View: id, Index: 1, Total: 1, Data: data},
		"empty chunk":         &member.Chunk{View: id, Total: 1},
		"long chunk":          &member.Chunk{View: id, Total: 1, Data: append(data, 0)},
		"short, not the last": &member.Chunk{View: id, Total: 2, Data: data[1:]},

		"flows of nobody":        &member.FlowFetch{View: id},
		"flows of 65":            &member.FlowFetch{To: 65, View: id},
		"flows in no view":       &member.FlowFetch{To: 1},
		"flows after never":      &member.FlowFetch{To: 1, View: id, After: -1},
		"flow chunk in no view":  &member.FlowChunk{Taken: 1, Total: 1},
		"flow chunk of no time":  &member.FlowChunk{View: id, Total: 1},
		"flow chunk 1 of 1":      &member.FlowChunk{View: id, Taken: 1, Index: 1, Total: 1},
		"flow chunk 0 of 0":      &member.FlowChunk{View: id, Taken: 1},
		"long flow chunk":        &member.FlowChunk{View: id, Taken: 1, Total: 1, Data: bytes.Repeat(flows(), 20)},
		"flow of IP version 5":   &member.FlowChunk{View: id, Taken: 1, Total: 1, Data: []byte{5, 0, 0}},
		"flow that is cut off":   &member.FlowChunk{View: id, Taken: 1, Total: 1, Data: flows()[:len(flows())-1]},
		"flow that is a version": &member.FlowChunk{View: id, Taken: 1, Total: 1, Data: []byte{4}},
	} {
		var into Decoded
		if err := c.Decode(c.Append(nil, &member.Message{From: 1, Incarnation: 1, Body: body}), &into); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPassed passes messages on to another process.
func TestPassed(t *testing.T) {
	var into Decoded
	rapid.Check(t, func(t *rapid.T) {
		m := drawMessage(t)
		b := AppendPassed(nil, m.From, m.Body)
		if !IsPassed(b) {
			t.Error("it is taken for text")
		}
		if err := DecodePassed(b, &into); err != nil {
			t.Fatal(err)
		}
		clear(b)
		if diff := cmp.Diff(member.Message{From: m.From, Body: m.Body}, into.Message); diff != "" {
			t.Error(diff)
		}
	})
	for _, b := range [][]byte{nil, {kindFetch}, {kindFetch, 1}, {0, 1}} {
		if err := DecodePassed(b, &into); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v: %v", b, err)
		}
	}
	for _, text := range []string{"", "alive", "{}"} {
		if IsPassed([]byte(text)) {
			t.Errorf("%q is taken for a message", text)
		}
	}
}

// TestRotation takes the steps of a change of keys: at each, all nodes
// understand each other, wherever each of them is between two steps.
func TestRotation(t *testing.T) {
	m := samples()[0]
	steps := [][]string{{oldKey}, {oldKey, newKey}, {newKey, oldKey}, {newKey}}
	for i := range steps {
		for j := max(0, i-1); j < min(len(steps), i+2); j++ {
			var into Decoded
			if err := New("web", steps[j]).Decode(New("web", steps[i]).Append(nil, &m), &into); err != nil {
				t.Errorf("from a node at step %d to one at %d: %v", i, j, err)
			}
		}
	}
}

// TestSameKeyID finds a second key with the id of the first one.
func TestSameKeyID(t *testing.T) {
	first, m := New("web", []string{oldKey}), samples()[0]
	for i := range uint32(100_000) {
		twin := "a key of sixteen and more" + string(binary.BigEndian.AppendUint32(nil, i))
		c := New("web", []string{oldKey, twin})
		if c.keys[1].id != c.keys[0].id {
			continue
		}
		var into Decoded
		if err := c.Decode(New("web", []string{twin}).Append(nil, &m), &into); err != nil {
			t.Error(err)
		}
		if err := first.Decode(New("web", []string{twin}).Append(nil, &m), &into); !errors.Is(err, ErrKey) {
			t.Errorf("got %v, want %v", err, ErrKey)
		}
		return
	}
	t.Fatal("no two keys have one id")
}

func TestAllocations(t *testing.T) {
	c := New("web", []string{oldKey, newKey})
	m := samples()[0]
	frame := c.Append(nil, &m)
	var into Decoded
	for name, act := range map[string]func(){
		"append": func() { frame = c.Append(frame[:0], &m) },
		"decode": func() {
			if err := c.Decode(frame, &into); err != nil {
				t.Fatal(err)
			}
		},
		"refuse": func() { _ = c.Decode(frame[:100], &into) },
	} {
		if n := testing.AllocsPerRun(100, act); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestSamplesAreFull fails where a field was added that nobody encodes yet.
func TestSamplesAreFull(t *testing.T) {
	for _, m := range samples() {
		v := reflect.ValueOf(m.Body).Elem()
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("%s.%s is zero: golden frames say nothing of it", v.Type(), v.Type().Field(i).Name)
			}
		}
	}
}
