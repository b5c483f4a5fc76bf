package wire

import (
	"bytes"
	"errors"
	"testing"

	"github.com/shoal-net/shoal/internal/member"
)

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
		"a kind not known":   {edit(c, &m, func(b []byte) { b[offsetKind] = kindFlowChunk + 1 }), ErrMalformed},
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
