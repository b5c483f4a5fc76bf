package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strconv"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/config"
	"github.com/shoal-net/shoal/internal/heartbeat"
	"github.com/shoal-net/shoal/internal/member"
	"github.com/shoal-net/shoal/internal/transport"
	frames "github.com/shoal-net/shoal/internal/wire"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// slower is by how much the clock of the simulated nodes is slow. What they
// tell each other grows with the square of their number, and none of it is
// measured; so they live slowly, and in between each repeats its last heartbeat
// to the real node, with what it has heard of that one since: what a node that
// has nothing new to say does. They begin with a view of their own.
const slower = 40

// puppet is a simulated node.
type puppet struct {
	*member.Member
	id      member.NodeID
	sender  *transport.Sender
	message member.Message
	beat    member.Heartbeat // its last one
	spoken  bool
	repeats member.Time   // of it since
	next    time.Duration // when to repeat it, since the start
}

// parcel is a message among puppets.
type parcel struct {
	from    member.NodeID
	message member.Message
}

// peers are the puppets and their thread.
type peers struct {
	controlCase
	puppets []*puppet
	codec   *frames.Codec
	socket  int
	real    member.Incarnation // of the real node …
	heard   member.Time        // … and the newest that was heard of it
	told    member.Heartbeat   // its last one that the puppets have heard …
	toldOf  member.Incarnation // … of this incarnation …
	skipped int                // … and how many have come since
	begun   time.Time
	clock   member.Time // of the puppets, when they were set on the wire
	queue   []parcel
	payload []byte
	online  bool
	quit    chan struct{}
	done    chan error
}

// startPeers runs the simulated nodes in a host.
func startPeers(h host, c controlCase) (*peers, error) {
	p := &peers{controlCase: c, clock: time.Hour, quit: make(chan struct{}), done: make(chan error, 1)}
	if err := h.do(p.open); err != nil {
		return nil, err
	}
	p.agree()
	go func() { p.done <- p.run() }()
	return p, nil
}

// open makes the puppets, and what they send and receive by.
func (p *peers) open() error {
	link, err := netlink.LinkByName(controlPeers)
	if err != nil {
		return fmt.Errorf("find %s: %w", controlPeers, err)
	}
	for id := 1; id < p.nodes; id++ {
		c, err := config.Parse("bench", p.file(), config.Options{Node: strconv.Itoa(id)})
		if err != nil {
			return fmt.Errorf("the cluster of the benchmark: %w", err)
		}
		ifc := c.Interfaces[0]
		ifc.Name = controlPeers
		sender, err := transport.OpenSender(ifc, []netip.Addr{p.address(id)})
		if err != nil {
			return err
		}
		p.codec = frames.New(c.Name, c.Membership.Keys)
		p.puppets = append(p.puppets, p.puppet(c, sender))
	}
	if p.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open a packet socket: %w", err)
	}
	const ipv4 = unix.ETH_P_IP>>8 | unix.ETH_P_IP&0xff<<8 // in network order
	if err := unix.Bind(p.socket, &unix.SockaddrLinklayer{Protocol: ipv4, Ifindex: link.Attrs().Index}); err != nil {
		return fmt.Errorf("listen on %s: %w", controlPeers, err)
	}
	return nil
}

func (p *peers) puppet(c *cluster.Cluster, sender *transport.Sender) *puppet {
	random := rand.New(rand.NewPCG(uint64(c.Self), uint64(time.Now().UnixNano())))
	id := member.NodeID(c.Self)
	return &puppet{
		Member: member.New(heartbeat.MemberConfig(c), &member.Stored{}, p.clock, random.Uint64), id: id, sender: sender,
		next: p.interval * time.Duration(id) / time.Duration(p.nodes),
	}
}

// agree lets the puppets find a view before the real node is there, as fast as
// that goes: two seconds of theirs.
func (p *peers) agree() {
	for end := p.clock + 2*time.Second; p.clock < end; p.clock += p.interval / 20 {
		p.tick(p.clock)
		for len(p.queue) > 0 {
			p.deliver(p.clock)
		}
	}
	p.online, p.begun = true, time.Now()
}

// now is the puppets' clock.
func (p *peers) now() member.Time { return p.clock + time.Since(p.begun)/slower }

// run speaks and listens until stop.
func (p *peers) run() error {
	runtime.LockOSThread() // ends with it
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return fmt.Errorf("give the simulated nodes priority: %w", err)
	}
	var decoded frames.Decoded
	frame := make([]byte, 2048)
	for {
		select {
		case <-p.quit:
			return nil
		default:
		}
		p.await()
		for {
			n, err := unix.Read(p.socket, frame)
			if err != nil {
				break // nothing more, for now
			}
			if payload, ok := transport.Payload(frame[:n]); ok && p.codec.Decode(payload, &decoded) == nil {
				p.hear(&decoded.Message)
			}
		}
		p.tick(p.now())
		p.deliver(p.now())
		if err := p.repeat(); err != nil {
			return err
		}
	}
}

// await sleeps until a frame is there or a heartbeat is due.
func (p *peers) await() {
	if len(p.queue) > 0 {
		return
	}
	due := p.interval
	for _, q := range p.puppets {
		due = min(due, q.next-time.Since(p.begun))
	}
	if due > 0 {
		timeout := unix.NsecToTimespec(int64(due))
		_, _ = unix.Ppoll([]unix.PollFd{{Fd: int32(p.socket), Events: unix.POLLIN}}, &timeout, nil)
	}
}

// hear takes a message of the real node. What it echoes of repetitions is
// worth as much as an echo of what was repeated.
func (p *peers) hear(m *member.Message) {
	if hb, ok := m.Body.(*member.Heartbeat); ok {
		if m.Incarnation != p.real {
			p.real, p.heard = m.Incarnation, 0
		}
		p.heard = max(p.heard, hb.Sent)
		if !p.isNews(hb) {
			return
		}
		for _, q := range p.puppets {
			if e := &hb.Echoes[q.id-1]; e.Sent > q.beat.Sent {
				e.Sent = q.beat.Sent
			}
		}
	}
	now := p.now()
	for _, q := range p.puppets {
		q.Receive(now, now, 0, m)
		p.perform(q, now)
	}
}

// isNews says whether a heartbeat of the real node is one for the puppets: it
// says something new, or none has come for half an interval of theirs.
func (p *peers) isNews(hb *member.Heartbeat) bool {
	p.skipped++
	o := &p.told
	same := p.toldOf == p.real && o.State == hb.State && o.Fit == hb.Fit && o.Promised == hb.Promised && o.Accepted == hb.Accepted &&
		o.Active == hb.Active && o.Acting == hb.Acting && o.Suspects == hb.Suspects && o.Ended == hb.Ended
	if same && p.skipped < slower/2 {
		return false
	}
	p.told, p.toldOf, p.skipped = *hb, p.real, 0
	return true
}

// tick lets time pass for all puppets that something is due for.
func (p *peers) tick(now member.Time) {
	for _, q := range p.puppets {
		if q.Next() <= now {
			q.Tick(now)
			p.perform(q, now)
		}
	}
}

// perform does what a puppet asks for: it has a disk that takes no time.
func (p *peers) perform(q *puppet, now member.Time) {
	for again := true; again; {
		fx := q.Effects()
		for _, s := range fx.Sends {
			p.send(q, s.Message)
		}
		if again = fx.Store != nil; again {
			q.Synced(now, fx.StoreSeq)
		}
	}
}

// send sends what a puppet says to the real node and puts it into the others'
// queue.
func (p *peers) send(q *puppet, m *member.Message) {
	own := *m
	if hb, ok := m.Body.(*member.Heartbeat); ok {
		copied := *hb
		q.beat, q.repeats, q.spoken, q.message = *hb, 0, true, *m
		own.Body = &copied
	}
	p.queue = append(p.queue, parcel{q.id, own})
	if p.online {
		p.payload = p.codec.Append(p.payload[:0], m)
		_ = q.sender.Send(p.payload) // the queue is full: the next one comes soon
	}
}

// deliver gives all puppets the message that has waited longest. No more: they
// may have so much to tell each other that it keeps none from being heard by the
// real node.
func (p *peers) deliver(now member.Time) {
	if len(p.queue) == 0 {
		return
	}
	next := p.queue[0]
	p.queue = p.queue[1:]
	for _, q := range p.puppets {
		if q.id != next.from {
			q.Receive(now, now, 0, &next.message)
			p.perform(q, now)
		}
	}
}

// repeat says again what is due.
func (p *peers) repeat() error {
	now := time.Since(p.begun)
	for _, q := range p.puppets {
		if now < q.next {
			continue
		}
		q.next = max(q.next+p.interval, now-p.interval)
		if !q.spoken {
			continue
		}
		beat, m := q.beat, q.message
		q.repeats++
		beat.Sent += q.repeats
		if e := &beat.Echoes[p.nodes-1]; e.Incarnation == p.real {
			e.Sent = max(e.Sent, p.heard)
		}
		m.Body = &beat
		p.payload = p.codec.Append(p.payload[:0], &m)
		if err := q.sender.Send(p.payload); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return fmt.Errorf("send as node %d: %w", q.id, err)
		}
	}
	return nil
}

func (p *peers) stop() error {
	close(p.quit)
	err := <-p.done
	for _, q := range p.puppets {
		q.sender.Close()
	}
	return errors.Join(err, unix.Close(p.socket))
}
