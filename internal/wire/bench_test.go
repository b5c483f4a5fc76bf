package wire

import (
	"fmt"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/member"
)

func BenchmarkHeartbeat(b *testing.B) {
	c := New("web", []string{oldKey})
	for _, nodes := range []int{3, 64} {
		h := samples()[0].Body.(*member.Heartbeat)
		for i := range h.Echoes {
			h.Echoes[i] = member.Echo{}
			if i < nodes {
				h.Echoes[i] = member.Echo{Incarnation: 1, Sent: time.Second, Heard: 1}
			}
		}
		m := &member.Message{From: 1, Incarnation: 1, Body: h}
		frame := c.Append(nil, m)
		b.Run(fmt.Sprintf("append/%d", nodes), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				frame = c.Append(frame[:0], m)
			}
		})
		b.Run(fmt.Sprintf("decode/%d", nodes), func(b *testing.B) {
			b.ReportAllocs()
			var into Decoded
			for b.Loop() {
				if err := c.Decode(frame, &into); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("refuse/%d", nodes), func(b *testing.B) {
			b.ReportAllocs()
			var into Decoded
			stranger := New("web", []string{newKey})
			for b.Loop() {
				_ = stranger.Decode(frame, &into)
			}
		})
	}
}
