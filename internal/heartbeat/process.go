package heartbeat

import (
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/member"
	"github.com/shoal-net/shoal/internal/transport"
	"github.com/shoal-net/shoal/internal/wire"
	"golang.org/x/sys/unix"
)

// File descriptors that the agent gives the process.
const (
	agentFD = 3
	// predecessorFD, where Setup.TakeOver is set, is a socket to the process
	// that this one takes over from.
	predecessorFD = 4
)

// process is a running heartbeat process. All of it belongs to one thread.
type process struct {
	agent   *agentLink
	setup   Setup
	cluster *cluster.Cluster
	lacking []string // of what a real-time process should have

	m       *member.Member
	control *dataplane.Control
	codec   *wire.Codec
	store   *storer
	links   *transport.Links
	paths   []path
	probes  probes
	poll    []unix.PollFd
	payload []byte
	message wire.Decoded

	late    lateness
	refused refused
	hearing hearing

	started    time.Duration
	lastAlive  time.Duration // of the agent
	agentStuck bool
	acquired   acquired
	serving    bool
	minded     time.Duration // when housekeeping was done
	storeError string
	disk       slowDisk
	up         uint8 // interfaces with carrier
	successor  successor
	leaveTime  time.Duration // when to end because the agent is gone; 0: it is not
	ending     Event         // what to tell the agent at the end; no kind: not yet
}

// Run is the process. It returns when the node has left, or the agent is gone.
func Run() error {
	runtime.LockOSThread()
	if runtime.GOMAXPROCS(0) < 2 {
		runtime.GOMAXPROCS(2) // the thread that writes must not keep this one waiting
	}
	lacking := becomeRealtime()
	agent, err := openAgentLink(agentFD)
	if err != nil {
		return fmt.Errorf("%w; this command is for `shoal up` to start", err)
	}
	p := &process{agent: agent, lacking: lacking}
	if err := p.start(); err != nil {
		agent.tell(Event{Kind: Failed, Text: err.Error()})
		return err
	}
	defer p.close()
	agent.tell(Event{Kind: Ready})
	for _, l := range lacking {
		p.warn("%s", l)
	}
	return p.run()
}

// start sets everything up that needs no hurry.
func (p *process) start() error {
	setup, err := p.awaitSetup()
	if err != nil {
		return err
	}
	p.setup, p.cluster = *setup, setup.Cluster
	p.started = dataplane.Now()
	p.lastAlive = p.started
	p.codec = wire.New(p.cluster.Name, p.setup.Keys)
	var names []string
	p.paths, names = makePaths(p.cluster)
	if p.links, err = transport.OpenLinks(names); err != nil {
		return err
	}
	if setup.TakeOver {
		err = p.takeOver()
	} else {
		err = p.begin()
	}
	if err != nil {
		return err
	}
	p.watchFDs()
	return nil
}

// begin starts as a node that was not there a moment ago.
func (p *process) begin() error {
	stored, err := p.openStore()
	if err != nil {
		return err
	}
	if p.control, err = dataplane.OpenControl(p.setup.Pins, p.cluster.Hash.Buckets); err != nil {
		return err
	}
	// Of the process before (clause S3): flows that are destroyed now must not
	// say so to their clients.
	p.control.SetLease(p.control.Epoch(), 0)
	p.m = member.New(MemberConfig(p.cluster), stored, dataplane.Now(), random())
	return nil
}

// openStore returns what survived the last run, nil where nothing did.
func (p *process) openStore() (*member.Stored, error) {
	owner := fmt.Sprintf("%s/%d", p.cluster.Name, p.cluster.Self)
	slots, record, problems, err := openSlots(p.setup.State, owner)
	if err != nil {
		return nil, err
	}
	for _, problem := range problems {
		p.warn("%v", problem)
	}
	var stored *member.Stored
	if record != nil {
		if stored, err = parseStored(record, p.cluster.Hash.Buckets); err != nil {
			p.warn("%s: %v", p.setup.State, err)
		}
	}
	if stored == nil && (record != nil || len(problems) > 0) {
		p.warn("this node starts without memory of earlier views: it takes part when it has learned of them from the others")
	}
	if p.store, err = startStorer(slots); err != nil {
		slots.close()
		return nil, err
	}
	return stored, nil
}

// random returns a source of random numbers that takes no system call.
func random() func() uint64 {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	return rand.NewChaCha8(seed).Uint64
}

// awaitSetup waits for the agent's first message.
func (p *process) awaitSetup() (*Setup, error) {
	fds := []unix.PollFd{{Fd: int32(p.agent.fd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return nil, os.NewSyscallError("poll", err)
		}
		data, _, errno := p.agent.receive()
		switch {
		case errno == unix.EAGAIN || errno == unix.EINTR:
			continue
		case errno != 0:
			return nil, fmt.Errorf("hear of the agent: %w", errno)
		case len(data) == 0:
			return nil, fmt.Errorf("the agent is gone: %w", io.EOF)
		case string(data) == alive:
			continue
		}
		var c command
		if err := json.Unmarshal(data, &c); err != nil {
			return nil, fmt.Errorf("understand the agent: %w", err)
		}
		if c.Setup == nil || c.Setup.Cluster == nil {
			return nil, errors.New("understand the agent: its first message sets nothing up")
		}
		return c.Setup, nil
	}
}

// agentPollFD is the agent's socket while there is an agent: a socket whose
// other end is closed is readable always.
func (p *process) agentPollFD() int32 {
	if p.leaveTime != 0 {
		return -1
	}
	return int32(p.agent.fd)
}

// watchFDs lists what wakes the process.
func (p *process) watchFDs() {
	p.poll = append(p.poll[:0],
		unix.PollFd{Fd: int32(p.control.FD()), Events: unix.POLLIN},
		unix.PollFd{Fd: p.agentPollFD(), Events: unix.POLLIN},
		unix.PollFd{Fd: int32(p.links.FD()), Events: unix.POLLIN},
		unix.PollFd{Fd: int32(p.store.fd), Events: unix.POLLIN})
	for i := range p.paths {
		if d := p.paths[i].direct; d != nil {
			p.poll = append(p.poll, unix.PollFd{Fd: int32(d.FD()), Events: unix.POLLIN})
		}
	}
	p.probes.each(func(o *transport.Prober) {
		p.poll = append(p.poll, unix.PollFd{Fd: int32(o.FD()), Events: unix.POLLIN})
	})
}

func (p *process) close() {
	p.store.close()
	p.probes.close()
	for i := range p.paths {
		p.paths[i].close()
	}
	p.links.Close()
	p.control.Close()
}

func (p *process) log(format string, args ...any) {
	p.agent.tell(Event{Kind: Log, Text: fmt.Sprintf(format, args...)})
}

func (p *process) warn(format string, args ...any) {
	p.agent.tell(Event{Kind: Warning, Text: fmt.Sprintf(format, args...)})
}
