package wire

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/shoal-net/shoal/internal/member"
)

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
