package flows

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
)

// UDP calls each for the UDP flows that connection tracking of a gateway has,
// from their client's end, with their buckets. One whose server is translated
// comes twice: as packets of either side have it. In mode backend there are
// none: the data plane knows those of a cluster address.
func (f *Flows) UDP(each func(client, server netip.AddrPort, bucket int)) error {
	if f.mode != cluster.Gateway {
		return nil
	}
	f.sides.refresh()
	return f.entries(func(e *entry) {
		if e.protocol != unix.IPPROTO_UDP {
			return
		}
		bucket, ok := f.ofEntry(e)
		if !ok {
			return
		}
		question, answer := f.asked(e)
		each(question.src, question.dst, bucket)
		if answer != (ends{question.dst, question.src}) {
			each(answer.dst, answer.src, bucket)
		}
	})
}

// ends are those of a packet.
type ends struct{ src, dst netip.AddrPort }

func (t tuple) ends() ends {
	return ends{netip.AddrPortFrom(t.src, t.sport), netip.AddrPortFrom(t.dst, t.dport)}
}

// asked returns the packets of an entry of the cluster's that its client sends,
// and those that its server does.
func (f *Flows) asked(e *entry) (question, answer ends) {
	in, side := f.way(e)
	original, reply := e.original.ends(), e.reply.ends()
	if (in == e.original) == (side != serverSide) {
		return original, reply
	}
	return reply, original
}
