package capture

import (
	"errors"
	"io"

	"github.com/shoal-net/shoal/match"
)

// Count is a number of packets and their length.
type Count struct {
	Packets uint64
	Bytes   uint64 // as long as the packets were on the wire
}

func (c *Count) add(p Packet) {
	c.Packets++
	c.Bytes += uint64(p.Info.Length)
}

// Tally says who handles the packets of a capture.
type Tally struct {
	Nodes   []Count // by the index of the node
	Matched Count   // packets that the match matches
	NotIP   Count
	Damaged Count // IP, but without a whole IP header
	Unknown Count // of a link type that is not supported
	// FirstUnknown says which packet is the first of Unknown; nil without any.
	FirstUnknown error
}

// Total counts all packets.
func (t Tally) Total() Count {
	var sum Count
	for _, c := range append([]Count{t.NotIP, t.Damaged, t.Unknown}, t.Nodes...) {
		sum.Packets += c.Packets
		sum.Bytes += c.Bytes
	}
	return sum
}

// Share counts the packets of a capture by the node that handles them, that
// is, by their source address. Those that m matches go to write, where it is
// not nil. After each packet, step is called with it.
//
// The tally is good as far as the capture could be read, also beside an error.
// Packets of unknown link types are counted and passed over. An error of write
// ends the work and is returned as a *WriteError.
func Share(r *Reader, m match.Match, write func(Packet) error, step func(Packet)) (Tally, error) {
	t := Tally{Nodes: make([]Count, m.TotalNodes)}
	for {
		p, err := r.Next()
		if err == io.EOF {
			return t, nil
		}
		if err != nil {
			return t, err
		}
		if t.add(p, m) && write != nil {
			if err := write(p); err != nil {
				return t, &WriteError{p.errorf("%w", err)}
			}
		}
		step(p)
	}
}

// add counts a packet and reports whether m matches it.
func (t *Tally) add(p Packet, m match.Match) bool {
	source, err := Source(p.Link, p.Data)
	switch {
	case errors.Is(err, ErrNotIP):
		t.NotIP.add(p)
	case errors.Is(err, ErrDamaged):
		t.Damaged.add(p)
	case err != nil:
		t.Unknown.add(p)
		if t.FirstUnknown == nil {
			t.FirstUnknown = p.errorf("%w", err)
		}
	default:
		t.Nodes[m.Index(source)].add(p)
		if m.Matches(source) {
			t.Matched.add(p)
			return true
		}
	}
	return false
}
