package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/control"
	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/heartbeat"
	"golang.org/x/sys/unix"
)

// Operations of the agent's socket.
const (
	opStatus  = "status"  // → heartbeat.Status
	opReload  = "reload"  // the file, again
	opOrder   = "order"   // member.Order, for whoever proposes views
	opReplace = "replace" // hand over to the agent that asks: see takeover
)

// request is an operation that the loop performs.
type request struct {
	control.Request
	conn   *control.Conn
	answer chan error
}

// serve opens the agent's socket. What changes anything is done by the loop.
func (a *Agent) serve(ctx context.Context) (*control.Server, error) {
	server, err := control.Listen(a.paths.socket())
	if err != nil {
		return nil, err
	}
	go server.Serve(ctx, func(ctx context.Context, c *control.Conn, r control.Request) (any, error) {
		if r.Op == opStatus {
			return a.memberStatus()
		}
		q := request{r, c, make(chan error, 1)}
		select {
		case a.requests <- q:
		case <-ctx.Done():
			return nil, errors.New("the agent is leaving")
		}
		select {
		case err := <-q.answer:
			return nil, err
		case <-ctx.Done():
			return nil, errors.New("the agent is leaving")
		}
	})
	return server, nil
}

// answer performs an operation. An error ends this agent: another one goes on in
// its place, or it has lost the data plane.
func (a *Agent) answer(ctx context.Context, q request, o *Options) (err error) {
	var failed error
	switch q.Op {
	case opReload:
		failed = a.reload(o)
	case opOrder:
		failed = a.order(q.Args)
	case opReplace:
		if failed = a.handOver(ctx, q, o); failed == nil {
			err = errReplaced
		} else if errors.Is(failed, errLost) {
			err = failed
		}
	default:
		failed = fmt.Errorf("this agent knows no operation %q: it is of another version", q.Op)
	}
	q.answer <- failed
	return err
}

var (
	errReplaced = errors.New("another agent goes on in the place of this one")
	errLost     = errors.New("this agent has lost the data plane, which stays as it is: `shoal down` takes it away")
)

// Reload asks the agent of a cluster to read its file again.
func Reload(p Paths) error { return control.Ask(p.socket(), patience, opReload, nil, nil) }

// memberStatus is what the heartbeat process knows, and what the checks of the
// node's service say.
func (a *Agent) memberStatus() (*heartbeat.Status, error) {
	s, err := a.asked.Load().Status()
	if why := a.health.why.Load(); err == nil && why != nil {
		s.Warnings = append(s.Warnings, "this node's service: "+*why)
	}
	return s, err
}

// How long an answer is waited for: where there is more to show without it, and
// where nothing can be done without it. The agent waits for its process, and
// both may have to wait for a processor.
const (
	glance   = time.Second
	patience = 5 * time.Second
)

// memberStatus asks the agent what the heartbeat process knows.
func memberStatus(p Paths, timeout time.Duration) (*heartbeat.Status, error) {
	s := new(heartbeat.Status)
	if err := control.Ask(p.socket(), timeout, opStatus, nil, s); err != nil {
		return nil, err
	}
	return s, nil
}

// A new agent takes the place of the old one in three steps over one
// connection: the old agent gives up the right to the data plane; the new one
// puts its programs in place and starts its heartbeat process, which waits; the
// old heartbeat process hands over to that one. Until the last step the old
// agent goes on if the new one fails.
const (
	released = "released" // the old agent: the data plane is yours
	prepared = "prepared" // the new agent, with the socket for the heartbeat processes
	done     = "done"     // the old agent: it is not there any more
	kept     = "kept"     // the old agent: it goes on, and the new one must not
)

// step is a message between the two agents.
type step struct {
	Step  string `json:"step"`
	PID   int    `json:"pid,omitempty"` // of the new agent, when it is prepared
	Error string `json:"error,omitempty"`
}

const (
	// replaceTimeout bounds the whole of a take-over: programs have to be loaded.
	replaceTimeout = 20 * time.Second
	// reopenTimeout is how long a new agent that has failed may take to end.
	reopenTimeout = 5 * time.Second
)

// takeover is a new agent's side.
type takeover struct{ conn *control.Conn }

// giveUp lets the other agent go on.
func (t *takeover) giveUp() {
	if t != nil {
		t.conn.Close()
	}
}

// beginTakeover asks the agent that runs to give way to one with the given
// description; nil where none does.
func beginTakeover(p Paths, c *cluster.Cluster) (*takeover, error) {
	conn, err := control.Dial(p.socket(), replaceTimeout, opReplace, c)
	if errors.Is(err, control.ErrNoAgent) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := await(conn, released); err != nil {
		conn.Close()
		return nil, err
	}
	return &takeover{conn}, nil
}

// await waits for a step of the old agent.
func await(conn *control.Conn, want string) error {
	var s step
	_, err := conn.Receive(&s)
	if err == nil && s.Step != want {
		err = errors.New(s.Error)
	}
	if err != nil {
		return fmt.Errorf("take the place of the agent that runs: %w", err)
	}
	return nil
}

// start starts a heartbeat process: in the place of the one before where there
// is one.
func (t *takeover) start(setup heartbeat.Setup) (*heartbeat.Process, error) {
	if t == nil {
		return heartbeat.Start(setup, nil)
	}
	ours, theirs, err := socketpair()
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	defer theirs.Close()
	p, err := heartbeat.Start(setup, ours)
	if err != nil {
		return nil, err
	}
	if err = awaitWaiting(p); err == nil {
		err = t.conn.Send(step{Step: prepared, PID: os.Getpid()}, theirs)
	}
	if err == nil {
		err = await(t.conn, done)
	}
	if err != nil {
		p.Kill()
		return nil, err
	}
	t.conn.Close()
	return p, nil
}

// awaitWaiting waits until a heartbeat process can take over within a fraction
// of a lease.
func awaitWaiting(p *heartbeat.Process) error {
	for e := range p.Events {
		switch e.Kind {
		case heartbeat.Waiting:
			return nil
		case heartbeat.Failed:
			return errors.New(e.Text)
		}
	}
	return errors.New("the new heartbeat process has ended")
}

// handOver is the old agent's side. Without an error the new one goes on, else this
// one, unless the error is errLost.
func (a *Agent) handOver(ctx context.Context, q request, o *Options) error {
	next := new(cluster.Cluster)
	if err := json.Unmarshal(q.Args, next); err != nil {
		return fmt.Errorf("understand the new agent: %w", err)
	}
	if err := a.cluster.CheckReload(next); err != nil {
		return err
	}
	a.stopKeeping()
	if err := a.plane.Close(); err != nil {
		return err
	}
	err := a.letGo(q.conn, o)
	if err == nil {
		return nil
	}
	a.log.Error("another agent could not take over: this one goes on", "error", err)
	_ = q.conn.Send(step{Step: kept, Error: err.Error()}) // it may be gone, or know already
	return errors.Join(err, a.takeBack(ctx))
}

// takeBack tries to get the data plane back until ctx ends. Until then the host's
// side is not looked after, so this passes for being stuck.
func (a *Agent) takeBack(ctx context.Context) error {
	for {
		err := a.reopen()
		if err == nil {
			return nil
		}
		a.log.Error("could not take the data plane back", "error", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", errLost, err)
		case <-time.After(restartPause):
		}
	}
}

func (a *Agent) letGo(conn *control.Conn, o *Options) error {
	if err := conn.SetDeadline(time.Now().Add(replaceTimeout)); err != nil {
		return err
	}
	if err := conn.Send(step{Step: released}); err != nil {
		return err
	}
	var s step
	files, err := a.receiveAlive(conn, &s)
	if err != nil {
		return err
	}
	defer closeFiles(files)
	if s.Step != prepared || len(files) != 1 {
		return fmt.Errorf("the new agent is not prepared: %s", s.Error)
	}
	if err := a.heart.HandOver(files[0]); err != nil {
		return err
	}
	for e := range a.heart.Events {
		switch e.Kind {
		case heartbeat.HandedOver:
			if o.Replaced != nil {
				o.Replaced(s.PID)
			}
			err := conn.Send(step{Step: done})
			<-a.heart.Ended()
			return err
		case heartbeat.Kept:
			return errors.New(e.Text)
		default:
			a.hearProcess(e, &Options{})
		}
	}
	return errors.New("the heartbeat process has ended")
}

// receiveAlive waits for the new agent, which loads programs meanwhile. That is
// no reason for the heartbeat process to think that this one is stuck.
func (a *Agent) receiveAlive(conn *control.Conn, s *step) ([]*os.File, error) {
	type result struct {
		files []*os.File
		err   error
	}
	got := make(chan result, 1)
	go func() {
		files, err := conn.Receive(s)
		got <- result{files, err}
	}()
	beat := time.NewTicker(lifeInterval)
	defer beat.Stop()
	for {
		select {
		case r := <-got:
			return r.files, r.err
		case <-beat.C:
			a.progress.Store(int64(dataplane.Now()))
		}
	}
}

// reopen takes the right to the data plane back, once the new agent has let go
// of it, and says again whose all this is: the new agent may have written that
// it is.
func (a *Agent) reopen() error {
	for deadline := time.Now().Add(reopenTimeout); ; time.Sleep(lifeInterval / 10) {
		plane, err := dataplane.OpenInPlace(a.paths.Pins(), a.cluster)
		if err == nil {
			a.plane = plane
			if err = errors.Join(a.startKeeping(), a.state.save(a.paths)); err != nil {
				a.stopKeeping()
				err = errors.Join(err, plane.Close()) // or it would be locked for the next try
			}
			return err
		}
		if !errors.Is(err, dataplane.ErrLocked) || time.Now().After(deadline) {
			return err
		}
	}
}

// socketpair is for two heartbeat processes.
func socketpair() (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "successor"), os.NewFile(uintptr(fds[1]), "predecessor"), nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
