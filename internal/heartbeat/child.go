package heartbeat

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/shoal-net/shoal/internal/member"
	"github.com/shoal-net/shoal/internal/wire"
	"golang.org/x/sys/unix"
)

// Process is a heartbeat process as its agent sees it.
type Process struct {
	// Events are what it tells. The channel is closed when it has ended.
	Events <-chan Event
	// What there is to do about UDP flows that stay with old owners. Nobody has
	// to listen: what is not taken is lost, and asked for again.
	Acquired <-chan *Acquired        // the newest
	Fetches  <-chan member.FlowFetch // of this node
	Chunks   <-chan FlowChunk

	cmd  *exec.Cmd
	conn *net.UnixConn
	wait func() error

	inbox   *inbox
	answers chan Event // of Status and Reload, which wait for them
	asking  sync.Mutex
	ended   chan struct{} // closed when it has ended
}

// askTimeout is how long an answer may take. The process has more urgent
// things to do, but none that takes long.
const askTimeout = 3 * time.Second

// Start starts `shoal heartbeat`, this program, with what it needs to know.
// predecessor, if not nil, is a socket to the process that it takes over from.
// The process belongs to the network namespace of the calling thread.
func Start(setup Setup, predecessor *os.File) (*Process, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket to the heartbeat process: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "agent")
	defer theirs.Close()
	conn, err := fileConn(pair[0])
	if err != nil {
		return nil, err
	}
	setup.TakeOver = predecessor != nil
	cmd := exec.Command("/proc/self/exe", "heartbeat")
	cmd.Args[0] = "shoal"
	cmd.Stderr = os.Stderr
	// The runtime would interrupt the thread that waits a hundred times a second
	// to let others run; it gives way by itself, at every call of a function.
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1")
	cmd.ExtraFiles = []*os.File{theirs}
	if predecessor != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, predecessor)
	}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("start the heartbeat process: %w", err)
	}
	events := make(chan Event, 64)
	in := newInbox()
	p := &Process{Events: events, Acquired: in.acquired, Fetches: in.fetches, Chunks: in.chunks,
		cmd: cmd, conn: conn, wait: sync.OnceValue(cmd.Wait), inbox: in,
		answers: make(chan Event, 1), ended: make(chan struct{})}
	go p.listen(events)
	if err := p.tell(command{Setup: &setup}); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// fileConn makes a connection of a socket, which it closes.
func fileConn(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "heartbeat")
	defer f.Close()
	// Otherwise a long message is refused (net/core/sock.c).
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2*maxCommand)
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("use the socket to the heartbeat process: %w", err)
	}
	return c.(*net.UnixConn), nil
}

// listen passes events on until the process has ended.
func (p *Process) listen(events chan<- Event) {
	defer close(events)
	defer close(p.ended)
	buf := make([]byte, maxCommand)
	for {
		n, err := p.conn.Read(buf)
		if errors.Is(err, unix.ECONNRESET) {
			continue // it ended with something unread, and may have said why before
		}
		if err != nil || n == 0 {
			break
		}
		if wire.IsPassed(buf[:n]) {
			p.inbox.takePassed(buf[:n])
			continue
		}
		var e Event
		if err := json.Unmarshal(buf[:n], &e); err != nil {
			continue
		}
		if e.Kind == acquires && e.Acquired != nil {
			p.inbox.takeAcquired(e.Acquired)
			continue
		}
		if e.Kind == Answer || e.Kind == Reloaded {
			select {
			case p.answers <- e:
			default: // nobody waits for it any more
			}
			continue
		}
		events <- e
	}
	_ = p.wait()
}

func (p *Process) tell(c command) error {
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	_ = p.conn.SetWriteDeadline(time.Now().Add(askTimeout))
	if _, err := p.conn.Write(data); err != nil {
		return fmt.Errorf("speak to the heartbeat process: %w", err)
	}
	return nil
}

// Alive shows the process that the agent lives.
func (p *Process) Alive() {
	_ = p.conn.SetWriteDeadline(time.Now().Add(askTimeout))
	_, _ = p.conn.Write([]byte(alive)) // it watches for silence: there is nothing else to do
}

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Aim says which hosts outside the cluster to probe.
func (p *Process) Aim(targets []Target) error { return p.tell(command{Targets: &targets}) }

// Leave asks it to hand its buckets over and end: see Left.
func (p *Process) Leave() error { return p.tell(command{Leave: true}) }

// Swept answers Sweep, by its number: no flows of the cluster are left here.
func (p *Process) Swept(number uint64) error { return p.tell(command{Swept: number}) }

// Drained says of which buckets this node has no flows left, or is to give them
// up all the same, when the table of that epoch was in force before they were
// counted. Buckets that are not draining under it are passed over.
func (p *Process) Drained(tableEpoch uint64, buckets []int) error {
	d := drained{Epoch: tableEpoch}
	for _, b := range buckets {
		for len(d.Bits) <= b/8 {
			d.Bits = append(d.Bits, 0)
		}
		d.Bits[b/8] |= 1 << (b % 8)
	}
	return p.tell(command{Drained: &d})
}

// buckets is what Drained was given.
func (d *drained) buckets() (all []int) {
	for i, left := range d.Bits {
		for ; left != 0; left &= left - 1 {
			all = append(all, 8*i+bits.TrailingZeros8(left))
		}
	}
	return all
}

// Health says the largest weight that this node's checks allow it,
// 0..cluster.MaxWeight. Until it is told the process knows no limit.
func (p *Process) Health(limit uint16) error { return p.tell(command{Health: &limit}) }

// Order asks for something about a node, instead of what was asked for before.
// The view shows when it is done.
func (p *Process) Order(o member.Order) error { return p.tell(command{Order: &o}) }

// HandOver asks it to let the process behind the socket go on in its place: see
// HandedOver and Kept.
func (p *Process) HandOver(successor *os.File) error {
	data, err := json.Marshal(command{HandOver: true})
	if err != nil {
		return err
	}
	_ = p.conn.SetWriteDeadline(time.Now().Add(askTimeout))
	if _, _, err := p.conn.WriteMsgUnix(data, unix.UnixRights(int(successor.Fd())), nil); err != nil {
		return fmt.Errorf("speak to the heartbeat process: %w", err)
	}
	return nil
}

// Status asks it what it knows.
func (p *Process) Status() (*Status, error) {
	e, err := p.ask(command{Status: true}, Answer)
	return e.Status, err
}

// Reload gives it another description of the cluster.
func (p *Process) Reload(s Setup) error {
	e, err := p.ask(command{Reload: &s}, Reloaded)
	if err == nil && e.Text != "" {
		err = errors.New(e.Text)
	}
	return err
}

func (p *Process) ask(c command, kind EventKind) (Event, error) {
	p.asking.Lock()
	defer p.asking.Unlock()
	select {
	case <-p.answers: // to a question that was given up
	default:
	}
	if err := p.tell(c); err != nil {
		return Event{}, err
	}
	timeout := time.After(askTimeout)
	for {
		select {
		case e := <-p.answers:
			if e.Kind == kind {
				return e, nil
			}
		case <-p.ended:
			return Event{}, errors.New("the heartbeat process has ended")
		case <-timeout:
			return Event{}, fmt.Errorf("the heartbeat process did not answer within %s", askTimeout)
		}
	}
}

// Kill ends it at once, stopped or not. Its lease runs out.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	for range p.Events {
	}
	p.Close()
}

// Close lets go of a process that has ended.
func (p *Process) Close() { _ = p.conn.Close() }
