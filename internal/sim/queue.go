package sim

// instant is true time: nanoseconds since the start of a run. Nobody in the
// simulated world can read it; nodes have clocks of their own.
type instant = int64

const (
	microsecond instant = 1000
	millisecond         = 1000 * microsecond
	second              = 1000 * millisecond
	never       instant = 1<<63 - 1
)

// What happens by itself; faults come from outside, between events.
type kind uint8

const (
	arrive  kind = iota // a frame reaches a host's interface
	tick                // a process wakes because its timer is due
	wake                // a slow process gets round to the frames that wait for it
	synced              // a write is on disk
	ripen               // a process has kept still long enough after its start
	review              // two hosts that had lost touch have had time to notice
	overdue             // a bucket without owner may have been so for too long
	succeed             // a process goes on in the place of another
	expire              // a data plane's lease may have run out
	answer              // something outside the cluster answers a probe
	opens               // a client opens a flow
	talks               // a client sends the next packet of one
	counts              // an agent counts its flows
	reports             // … and has the result
	sweeps              // … or has destroyed them
	freezes             // … or has what others keep
	carrier             // a process learns that a link went up or down
)

// event is an entry of the queue. Entries that no longer apply stay in the
// queue and are recognised when they come up.
type event struct {
	at    instant
	order uint32 // of being queued: events at one instant have one order, always
	ref   uint32 // arrive: the frame; synced: the write; talks: the flow; else the life of the process
	kind  kind
	host  uint8
	iface uint8
}

func (e *event) before(f *event) bool {
	return e.at < f.at || e.at == f.at && e.order < f.order
}

// queue is a heap of four children to a parent, shallow and without garbage.
type queue struct {
	heap  []event
	order uint32
}

func (q *queue) push(e event) {
	e.order = q.order
	q.order++
	q.heap = append(q.heap, e)
	i := len(q.heap) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(&q.heap[parent]) {
			break
		}
		q.heap[i] = q.heap[parent]
		i = parent
	}
	q.heap[i] = e
}

// next returns when the first event is due, never if there is none.
func (q *queue) next() instant {
	if len(q.heap) == 0 {
		return never
	}
	return q.heap[0].at
}

func (q *queue) pop() event {
	first := q.heap[0]
	last := q.heap[len(q.heap)-1]
	q.heap = q.heap[:len(q.heap)-1]
	n := len(q.heap)
	if n == 0 {
		return first
	}
	i := 0
	for {
		child := 4*i + 1
		if child >= n {
			break
		}
		least := child
		for c := child + 1; c < min(child+4, n); c++ {
			if q.heap[c].before(&q.heap[least]) {
				least = c
			}
		}
		if !q.heap[least].before(&last) {
			break
		}
		q.heap[i] = q.heap[least]
		i = least
	}
	q.heap[i] = last
	return first
}
