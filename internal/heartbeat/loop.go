package heartbeat

import (
	"encoding/json"
	"time"
	"unsafe"

	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/member"
	"github.com/shoal-net/shoal/internal/transport"
	"github.com/shoal-net/shoal/internal/wire"
	"golang.org/x/sys/unix"
)

// run is the loop. What has arrived goes before the tick, so that the member
// never draws conclusions from a silence that is over.
func (p *process) run() error {
	for p.ending.Kind == "" {
		due := p.m.Next()
		if p.leaveTime != 0 {
			due = min(due, p.leaveTime)
		}
		p.wait(due)
		p.drain()
		if now := dataplane.Now(); now >= due {
			p.late.add(now, now-due)
			p.m.Tick(now)
			p.perform()
		}
		p.tryHandOver()
		if now := dataplane.Now(); p.leaveTime != 0 && now >= p.leaveTime {
			p.ending = Event{Kind: Failed, Text: "the agent is gone"}
		}
		if now := dataplane.Now(); now-p.minded >= time.Second {
			p.minded = now
			p.mind(now)
		}
	}
	p.agent.tell(p.ending)
	return nil
}

// wait returns when something can be read, or at the time given. The Go
// scheduler is not told that the thread waits: it would take its processor away
// for every wait of ten milliseconds, and the thread would have to get one back.
func (p *process) wait(until time.Duration) {
	timeout := unix.NsecToTimespec(int64(max(0, until-dataplane.Now())))
	// Errors, EINTR above all, are as good as nothing to read.
	unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(p.poll))), uintptr(len(p.poll)),
		uintptr(unsafe.Pointer(&timeout)), 0, 0, 0)
}

// mostAtOnce bounds what is read before a tick, of a ring that somebody may fill
// faster than it is read: more than all rings and queues hold, so that nothing
// that came before the tick is left behind.
const mostAtOnce = 8 << 10

// drain takes everything that can be read: heartbeats first.
func (p *process) drain() {
	for range mostAtOnce {
		hb, ok := p.control.Next()
		if !ok {
			break
		}
		if payload, ok := transport.Payload(hb.Frame); ok {
			p.receive(p.links.Number(hb.Ifindex), hb.Node, hb.Received, payload)
		} else {
			p.refuse(malformed, hb.Node, "")
		}
	}
	for i := range p.paths {
		d := p.paths[i].direct
		if d == nil {
			continue
		}
		for range mostAtOnce {
			payload, arrived, ok := d.Next()
			if !ok {
				break
			}
			p.receive(i, 0, arrived, payload)
		}
	}
	for _, fd := range p.poll {
		if fd.Revents == 0 {
			continue
		}
		switch int(fd.Fd) {
		case p.agent.fd:
			p.hearAgent()
		case p.links.FD():
			p.readLinks()
		case p.store.fd:
			p.m.Synced(dataplane.Now(), p.store.take())
			p.perform()
			p.mindDisk(dataplane.Now(), p.store.longest())
		}
	}
	if p.probes.answered() {
		p.m.Evidence(dataplane.Now())
		p.perform()
	}
}

// receive takes a message that came by a path, from an address of the given
// node; 0: the path does not tell.
func (p *process) receive(path, from int, arrived time.Duration, payload []byte) {
	if path < 0 {
		return // of an interface that is gone, or of another name now
	}
	if err := p.codec.Decode(payload, &p.message); err != nil {
		p.refuse(decodeRefusal(err), from, p.paths[path].name)
		return
	}
	m := &p.message.Message
	if from != 0 && int(m.From) != from {
		p.refuse(wrongAddress, from, p.paths[path].name)
		return
	}
	verdict := p.m.Receive(dataplane.Now(), arrived, path, m)
	p.perform()
	if why, ok := verdictRefusal(verdict); ok {
		p.refuse(why, int(m.From), p.paths[path].name)
	}
	if verdict == member.Taken {
		p.passIn(m)
	}
}

// perform does what the member asks for, and says nothing before it is done. A
// lease ends before the table changes; it begins, or goes over to a new epoch,
// after: between the two no packet would be let pass.
func (p *process) perform() {
	fx := p.m.Effects()
	if fx.LeaseSet && fx.LeaseDeadline == 0 {
		p.setLease(fx)
	}
	if fx.TableSet {
		p.control.SetTable(fx.TableEpoch, fx.Table)
	}
	if fx.LeaseSet && fx.LeaseDeadline != 0 {
		p.setLease(fx)
	}
	if fx.Store != nil {
		p.store.submit(*fx.Store, fx.StoreSeq)
	}
	for _, s := range fx.Sends {
		p.send(s)
	}
	if fx.TableSet {
		p.tellAcquired(false)
	}
	if fx.Probe {
		p.probes.ask()
	}
	if fx.Sweep != 0 {
		p.agent.tell(Event{Kind: Sweep, Sweep: fx.Sweep})
	}
	for _, line := range fx.Logs {
		p.log("%s", line)
	}
	if fx.Left {
		p.ending = Event{Kind: Left}
	}
}

func (p *process) setLease(fx *member.Effects) {
	p.control.SetLease(fx.LeaseEpoch, fx.LeaseDeadline)
	if serves := fx.LeaseDeadline > 0; serves != p.serving {
		p.serving = serves
		if serves {
			p.agent.tell(Event{Kind: Serving})
		}
	}
}

func (p *process) send(s member.Send) {
	p.payload = p.codec.Append(p.payload[:0], s.Message)
	for i := range p.paths {
		if s.Interfaces>>i&1 == 1 {
			p.paths[i].send(p.payload)
		}
	}
}

// hearAgent takes what the agent says.
func (p *process) hearAgent() {
	for p.ending.Kind == "" {
		data, file, errno := p.agent.receive()
		switch {
		case errno == unix.EAGAIN:
			return
		case errno == unix.EINTR:
			continue
		case errno != 0 || len(data) == 0:
			p.agentGone()
			return
		}
		p.lastAlive = dataplane.Now()
		if p.agentStuck {
			p.watchAgent(p.lastAlive)
		}
		switch {
		case string(data) == alive:
			continue
		case wire.IsPassed(data):
			p.passOut(data)
			continue
		}
		var c command
		if err := json.Unmarshal(data, &c); err != nil {
			p.warn("understand the agent: %v", err)
			continue
		}
		p.obey(&c, file)
	}
}

// agentGone gives up what the node serves: nobody keeps programs and addresses
// in place any more, and whatever ended the agent may end this process next. It
// goes on for as long as it takes to say so.
func (p *process) agentGone() {
	now := dataplane.Now()
	p.leaveTime = now + 3*p.cluster.Membership.Heartbeat
	p.watchFDs()
	p.m.Fence(now, "its agent is gone")
	p.perform()
}

func (p *process) obey(c *command, file int) {
	now := dataplane.Now()
	switch {
	case c.Reload != nil:
		p.agent.tell(Event{Kind: Reloaded, Text: p.reload(c.Reload)})
	case c.Targets != nil:
		if err := p.probes.aim(*c.Targets); err != nil {
			p.warn("%v", err)
		}
		p.watchFDs()
	case c.Leave:
		p.m.Leave(now)
		p.perform()
	case c.Swept != 0:
		p.m.Swept(now, c.Swept)
		p.perform()
	case c.Drained != nil:
		p.m.Drained(now, c.Drained.Epoch, c.Drained.buckets())
		p.perform()
	case c.Frozen != nil:
		p.m.Frozen(now, c.Frozen.From, c.Frozen.View)
		p.perform()
	case c.Health != nil:
		p.m.Health(now, *c.Health)
		p.perform()
	case c.Order != nil:
		p.m.Order(now, *c.Order)
		p.perform()
	case c.Status:
		s := p.status(now)
		p.agent.tell(Event{Kind: Answer, Status: &s})
	case c.HandOver && file < 0: // the agent waits for one answer or the other
		p.agent.tell(Event{Kind: Kept, Text: "the socket to the new process did not come through: out of file descriptors?"})
	case c.HandOver:
		p.successor.offer(file, now)
		file = -1
	}
	if file >= 0 {
		unix.Close(file)
	}
}

// readLinks takes in which interfaces are there and have carrier.
func (p *process) readLinks() {
	up, err := p.links.Read()
	if err != nil {
		p.reopenLinks(err)
		return
	}
	p.up = up
	p.m.Carrier(dataplane.Now(), up)
	p.perform()
	p.openPaths()
}
