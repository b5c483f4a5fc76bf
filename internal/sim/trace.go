package sim

import (
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/shoal-net/shoal/internal/member"
)

func (w *World) tracef(format string, args ...any) {
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%12.3f "+format+"\n", append([]any{float64(w.now) / 1e6}, args...)...)
	}
}

// notef writes what a person wants to know, to the trace and to the story.
func (w *World) notef(format string, args ...any) {
	w.tracef(format, args...)
	if w.story != nil {
		fmt.Fprintf(w.story, "%5d ms  "+format+"\n", append([]any{(w.now - w.begun) / millisecond}, args...)...)
	}
}

// number writes an epoch as round.proposer.
func number[E ~uint64](e E) string { return fmt.Sprintf("%d.%d", e>>8, e&0xff) }

// buckets writes a table as 0-3,7.
func buckets(table uint64) string {
	if table == 0 {
		return "nothing"
	}
	var b strings.Builder
	for at := 0; at < 64; {
		first := at + bits.TrailingZeros64(table>>at)
		if table>>at == 0 {
			break
		}
		last := first
		for last < 63 && table>>(last+1)&1 == 1 {
			last++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d", first)
		if last > first {
			fmt.Fprintf(&b, "-%d", last)
		}
		at = last + 1
	}
	return b.String()
}

// names writes a set of hosts as 1,2,3.
func (w *World) names(s hostSet) string {
	var names []string
	for i, h := range w.hosts {
		if s.has(i) {
			names = append(names, h.name)
		}
	}
	return strings.Join(names, ",")
}

// nodes writes a set of nodes as 1,2,3.
func nodes(s member.Set) string {
	var names []string
	for n := member.NodeID(1); n <= member.MaxNodes; n++ {
		if s.Has(n) {
			names = append(names, fmt.Sprint(n))
		}
	}
	return strings.Join(names, ",")
}

var states = [...]string{"joining", "serving", "draining", "leaving", "fenced", "lost"}

func (w *World) traceFrame(h *host, a arrival, m *member.Message, v member.Verdict) {
	var text string
	switch b := m.Body.(type) {
	case *member.Heartbeat:
		var echoes strings.Builder
		for i, e := range b.Echoes {
			if e.Incarnation != 0 {
				fmt.Fprintf(&echoes, " %d:%04x@%v", i+1, e.Incarnation&0xffff, ms(e.Sent))
			}
		}
		text = fmt.Sprintf("beat %04x@%v %s carrier %b suspects {%s} promised %s accepted %s active %s left %v, echoes%s",
			m.Incarnation&0xffff, ms(b.Sent), states[b.State], b.Carrier, nodes(b.Suspects), number(b.Promised),
			number(b.Accepted.Epoch), number(b.Active.Epoch), ms(b.LeaseLeft), echoes.String())
		if b.Amnesiac {
			text += " amnesiac"
		}
		if b.Alone {
			text += " warns"
		}
	case *member.ViewHeader:
		text = fmt.Sprintf("view %s on %s voters {%s}: %s", number(b.Epoch), number(b.Parent.Epoch), nodes(b.Voters), b.Reason)
	case *member.Fetch:
		text = fmt.Sprintf("fetch %s from %d to %d", number(b.View.Epoch), b.From, b.To)
	case *member.Drained:
		text = fmt.Sprintf("drained of %s: %x", number(b.View.Epoch), b.Bits)
	case *member.Chunk:
		text = fmt.Sprintf("chunk %d of %d of %s", b.Index, b.Total, number(b.View.Epoch))
	}
	w.heard = true
	w.tracef("%s hears %d on %d: %s (%d)", h.name, m.From, a.iface, text, v)
}

func ms(t time.Duration) string { return fmt.Sprintf("%.3f", float64(t)/1e6) }

func (w *World) traceEffects(h *host, fx *member.Effects) {
	if !w.heard && (fx.LeaseSet || fx.TableSet || fx.Store != nil || len(fx.Sends) > 0) {
		w.tracef("%s tick", h.name)
	}
	w.heard = false
	if fx.LeaseSet {
		w.tracef("%s   lease %s until %s, clock %s", h.name, number(fx.LeaseEpoch), ms(fx.LeaseDeadline), ms(h.clock.read(w.now)))
	}
	if fx.TableSet {
		var p plane
		p.load(fx.TableEpoch, fx.Table)
		w.tracef("%s   table %s: %s, of which %s acquired, drains %s", h.name, number(fx.TableEpoch), buckets(p.table), buckets(p.table&^p.owned), buckets(p.drains))
	}
	if fx.Store != nil {
		accepted := member.Epoch(0)
		if fx.Store.Accepted != nil {
			accepted = fx.Store.Accepted.Epoch
		}
		w.tracef("%s   store %d: promised %s, accepted %s", h.name, fx.StoreSeq, number(fx.Store.Promised), number(accepted))
	}
	for i := range fx.Sends {
		s := &fx.Sends[i]
		w.tracef("%s   sends %s on %b", h.name, strings.TrimPrefix(fmt.Sprintf("%T", s.Message.Body), "*member."), s.Interfaces)
	}
	for _, line := range fx.Logs {
		w.tracef("%s   log: %s", h.name, line)
	}
	if fx.Left {
		w.tracef("%s   left", h.name)
	}
}

// traceGaps says how long buckets that are handled again were not.
func (w *World) traceGaps(gained uint64) {
	o := &w.oracle
	for gained != 0 {
		since := o.open[bits.TrailingZeros64(gained)]
		same := uint64(0)
		for g := gained; g != 0; g &= g - 1 {
			if b := bits.TrailingZeros64(g); o.open[b] == since {
				same |= 1 << b
			}
		}
		w.notef("%s handled again after %d ms", buckets(same), (w.now-since+millisecond/2)/millisecond)
		gained &^= same
	}
}
