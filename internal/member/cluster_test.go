package member

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// A tiny cluster on a perfect network: messages take 100 µs, disks 300 µs. The
// simulator (internal/sim) is where the network is faulty.
type world struct {
	t     *testing.T
	now   Time
	queue events
	seq   int
	nodes []*node
	cut   func(from, to NodeID, iface int) bool
}

type node struct {
	*Member
	up       bool
	deadline Time
	table    []uint8
	logs     []string
	left     bool
	disk     *Stored
}

type event struct {
	at  Time
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any     { x := (*e)[len(*e)-1]; *e = (*e)[:len(*e)-1]; return x }

func testConfig(self NodeID, nodes int) Config {
	return Config{Self: self, Listed: 1<<nodes - 1, Weight: 100, Interval: 20 * time.Millisecond,
		Lease: 100 * time.Millisecond, Buckets: 60, Interfaces: []string{"eth0"}, Cluster: 1}
}

func newWorld(t *testing.T, nodes int, change func(*Config)) *world {
	w := &world{t: t, now: time.Second}
	w.nodes = make([]*node, nodes+1)
	for i := 1; i <= nodes; i++ {
		w.boot(NodeID(i), nodes, nil, change)
	}
	return w
}

func (w *world) boot(id NodeID, nodes int, stored *Stored, change func(*Config)) {
	cfg := testConfig(id, nodes)
	if change != nil {
		change(&cfg)
	}
	r := rand.New(rand.NewPCG(uint64(id), uint64(w.now)))
	n := &node{Member: New(cfg, stored, w.now, r.Uint64), up: true, disk: stored}
	w.nodes[id] = n
	w.perform(n)
}

func (w *world) at(t Time, do func()) {
	w.seq++
	heap.Push(&w.queue, event{t, w.seq, do})
}

func (w *world) perform(n *node) {
	fx := n.Effects()
	if fx.LeaseSet {
		n.deadline = fx.LeaseDeadline
	}
	if fx.TableSet {
		n.table = append(n.table[:0], fx.Table...)
	}
	if fx.Store != nil {
		stored, seq := fx.Store, fx.StoreSeq
		w.at(w.now+300*time.Microsecond, func() {
			if n.up {
				n.disk = stored
				n.Synced(w.now, seq)
				w.perform(n)
			}
		})
	}
	for _, s := range fx.Sends {
		w.send(n, s)
	}
	if fx.Probe {
		w.at(w.now+time.Millisecond, func() {
			if n.up {
				n.Evidence(w.now)
				w.perform(n)
			}
		})
	}
	if seq := fx.Sweep; seq != 0 {
		w.at(w.now+time.Millisecond, func() {
			if n.up {
				n.Swept(w.now, seq)
				w.perform(n)
			}
		})
	}
	for _, l := range fx.Logs {
		n.logs = append(n.logs, fmt.Sprintf("%v %s", w.now, l))
	}
	n.left = n.left || fx.Left
	next := n.Next()
	w.at(next, func() {
		if n.up && n.Next() <= w.now {
			n.Tick(w.now)
			w.perform(n)
		}
	})
}

func (w *world) send(from *node, s Send) {
	msg := *s.Message
	if hb, ok := msg.Body.(*Heartbeat); ok {
		copied := *hb
		msg.Body = &copied
	}
	for _, to := range w.nodes[1:] {
		if to == from || w.cut != nil && w.cut(from.cfg.Self, to.cfg.Self, 0) {
			continue
		}
		id := to.cfg.Self
		w.at(w.now+100*time.Microsecond, func() {
			if to := w.nodes[id]; to.up {
				to.Receive(w.now, w.now, 0, &msg)
				w.perform(to)
			}
		})
	}
}

func (w *world) run(d time.Duration) {
	for end := w.now + d; ; {
		if len(w.queue) == 0 || w.queue[0].at > end {
			w.now = end
			return
		}
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
		w.check()
	}
}

// check: at most one node handles a bucket.
func (w *world) check() {
	for b := range 60 {
		by := 0
		for _, n := range w.nodes[1:] {
			if w.handles(n, b) {
				by++
			}
		}
		if by > 1 {
			w.t.Fatalf("%v: bucket %d is handled by %d nodes", w.now, b, by)
		}
	}
}

func (w *world) handles(n *node, b int) bool {
	return w.now < n.deadline && b < len(n.table) && n.table[b] == owned
}

func (w *world) handled() (count int) {
	for b := range 60 {
		for _, n := range w.nodes[1:] {
			if w.handles(n, b) {
				count++
			}
		}
	}
	return count
}

func (w *world) expectWhole() {
	w.t.Helper()
	if h := w.handled(); h != 60 {
		for _, n := range w.nodes[1:] {
			for _, l := range n.logs {
				w.t.Logf("%d: %s", n.cfg.Self, l)
			}
			w.t.Logf("%d: state %d voting %v promised %x accepted %x active %x lease %v", n.cfg.Self, n.state, n.voting(), n.wanted.promised, n.acceptedEpoch(), n.activeEpoch(), n.deadline-w.now)
		}
		w.t.Fatalf("%v: %d of 60 buckets are handled", w.now, h)
	}
}

// gap runs on until all buckets are handled, and returns how long that took.
func (w *world) gap(limit time.Duration) time.Duration {
	for w.handled() == 60 {
		w.run(100 * time.Microsecond)
	}
	start := w.now
	for w.handled() != 60 && w.now-start < limit {
		w.run(100 * time.Microsecond)
	}
	w.expectWhole()
	return w.now - start
}

func TestClusterForms(t *testing.T) {
	for _, nodes := range []int{1, 2, 3, 5, 64} {
		w := newWorld(t, nodes, nil)
		w.run(time.Second)
		if nodes < 60 {
			w.expectWhole()
		}
	}
}

func TestFailover(t *testing.T) {
	for _, nodes := range []int{3, 5} {
		for victim := 1; victim <= nodes; victim++ {
			w := newWorld(t, nodes, nil)
			w.run(time.Second)
			w.expectWhole()
			w.nodes[victim].up = false
			gap := w.gap(time.Second) // from the end of the victim's lease on
			t.Logf("%d nodes, %d dies: %v", nodes, victim, gap)
			if gap > 30*time.Millisecond {
				t.Errorf("%d nodes, %d dies: %v", nodes, victim, gap)
			}
			w.run(time.Second)
			w.expectWhole()
			w.boot(NodeID(victim), nodes, w.nodes[victim].disk, nil)
			w.run(time.Second)
			w.expectWhole()
			if w.nodes[victim].state != Serving {
				t.Error("did not come back")
			}
		}
	}
}

func TestLeave(t *testing.T) {
	w := newWorld(t, 3, nil)
	w.run(time.Second)
	n := w.nodes[2]
	n.Leave(w.now)
	w.perform(n)
	for range 1000 {
		w.run(100 * time.Microsecond)
		if n.left {
			n.up = false
		}
	}
	if !n.left {
		t.Error("did not leave")
	}
	w.expectWhole()
}

func TestTwoAvailable(t *testing.T) {
	for victim := NodeID(1); victim <= 2; victim++ {
		w := newWorld(t, 2, func(c *Config) { c.Available = true })
		w.run(time.Second)
		w.expectWhole()
		w.nodes[victim].up = false
		t.Logf("%d dies: %v", victim, w.gap(time.Second))
		w.run(time.Second)
		w.boot(victim, 2, w.nodes[victim].disk, func(c *Config) { c.Available = true })
		w.run(time.Second)
		w.expectWhole()
		if w.nodes[victim].state != Serving {
			t.Error("did not come back")
		}
	}
}
