package sim

import "github.com/shoal-net/shoal/internal/member"

// disk keeps what a member stores. A write takes a while; a crash meanwhile
// may or may not have saved it, in order.
type disk struct {
	content *member.Stored // nil: empty
	pending []write
	slowest instant // a write takes up to this long
	busy    instant // until then with the writes before
	number  uint32
}

type write struct {
	number uint32
	seq    uint64
	stored member.Stored
}

// store begins a write.
func (w *World) store(h *host, s *member.Stored, seq uint64) {
	d := &h.disk
	d.number++
	d.pending = append(d.pending, write{d.number, seq, *s})
	d.busy = max(d.busy, w.now) + draw(w.noise, 0, d.slowest)
	w.queue.push(event{at: d.busy, kind: synced, host: uint8(h.index), ref: d.number})
}

// finish ends the write of that number, which is the oldest pending one unless
// a crash took it.
func (d *disk) finish(number uint32) (seq uint64, ok bool) {
	if len(d.pending) == 0 || d.pending[0].number != number {
		return 0, false
	}
	first := d.pending[0]
	d.pending = append(d.pending[:0], d.pending[1:]...)
	d.content = &first.stored
	return first.seq, true
}

// crash ends all writes; the first few may have been saved all the same.
func (d *disk) crash(saved func(pending int) int) {
	if n := saved(len(d.pending)); n > 0 {
		last := d.pending[n-1].stored
		d.content = &last
	}
	d.pending = d.pending[:0]
	d.busy = 0
}
