package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// How long a node's agent may take: to get ready, and to leave.
const (
	startTime = 15 * time.Second
	stopTime  = 5 * time.Second
)

// Node is a node of the lab's cluster.
type Node struct {
	ID       int
	Name     string // "node1"
	NS       *Namespace
	Instance string // as in: shoal down lab --instance INSTANCE
	Config   string // path of its configuration file; there is none without agents

	plan   plan
	notify string // path of its readiness socket

	mu    sync.Mutex
	agent *agent // the latest one, nil before the first
}

// An agent is one run of a node's shoal process.
type agent struct {
	cmd   *exec.Cmd
	tail  *tail
	ended chan struct{} // closed when the process is gone and err is set
	err   error
}

func (l *Lab) newNode(id int) (*Node, error) {
	name := nodeName(id)
	n := &Node{ID: id, Name: name, NS: l.network[name], Instance: l.plan.instance(name),
		Config: l.dir.file(name + ".yaml"), notify: l.dir.file(name + ".notify"), plan: l.plan}
	if l.plan.NoAgents {
		return n, nil
	}
	file := l.plan.nodeFile(id)
	if l.plan.NodeConfig != nil {
		file = l.plan.NodeConfig(id, file)
	}
	if err := os.WriteFile(n.Config, []byte(file), 0o644); err != nil {
		return nil, fmt.Errorf("write the configuration of %s: %w", name, err)
	}
	return n, nil
}

// Addresses are the node's own addresses on the client side, one of each
// family, IPv4 first.
func (n *Node) Addresses() []netip.Addr { return clientSegment.hosts(n.plan.Families, n.ID) }

// ServerSideAddresses are a gateway node's own addresses on the server side.
func (n *Node) ServerSideAddresses() []netip.Addr { return serverSegment.hosts(n.plan.Families, n.ID) }

// Start starts the node's agent and waits until it says that it is ready.
// When it fails, the agent does not run.
func (n *Node) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	ready, err := listenReady(n.notify)
	if err != nil {
		return fmt.Errorf("start %s: %w", n.Name, err)
	}
	a := &agent{tail: newTail(n.Name, n.plan.Log), ended: make(chan struct{})}
	a.cmd = exec.Command(n.plan.Binary, "up", "-c", n.Config, "--instance", n.Instance)
	a.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+n.notify)
	a.cmd.Stdout, a.cmd.Stderr = a.tail, a.tail
	// A lab that is killed leaves agents that take themselves down.
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := n.NS.Start(a.cmd); err != nil {
		ready.close()
		return fmt.Errorf("start %s: %w", n.Name, err)
	}
	n.mu.Lock()
	n.agent = a
	n.mu.Unlock()
	go func() {
		defer ready.close()
		a.wait()
	}()
	select {
	case <-ready.c:
		return nil
	case <-a.ended:
		return fmt.Errorf("start %s: it ended before it was ready: %w%s", n.Name, a.err, a.tail)
	case <-ctx.Done():
		err := context.Cause(ctx)
		return errors.Join(fmt.Errorf("start %s: not ready: %w%s", n.Name, err, a.tail), n.shutDown())
	}
}

func (a *agent) wait() {
	a.err = a.cmd.Wait()
	if a.err == nil {
		a.err = errors.New("exit status 0")
	}
	close(a.ended)
}

func (n *Node) current() *agent {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.agent
}

// Running says whether the node's agent runs; a stopped process (SIGSTOP)
// does, too.
func (n *Node) Running() bool {
	a := n.current()
	if a == nil {
		return false
	}
	select {
	case <-a.ended:
		return false
	default:
		return true
	}
}

// Err says how the agent ended and what it said last; nil while it runs, and
// for a node that never had one.
func (n *Node) Err() error {
	a := n.current()
	if a == nil || n.Running() {
		return nil
	}
	return fmt.Errorf("the agent of %s ended: %w%s", n.Name, a.err, a.tail)
}

// Ended is closed when the agent that runs now is gone.
func (n *Node) Ended() <-chan struct{} {
	if a := n.current(); a != nil {
		return a.ended
	}
	gone := make(chan struct{})
	close(gone)
	return gone
}

// Signal sends a signal to the node's agent.
func (n *Node) Signal(sig syscall.Signal) error {
	a := n.current()
	if a == nil {
		return fmt.Errorf("signal %s: no agent was started", n.Name)
	}
	if err := a.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signal %s: %w", n.Name, err)
	}
	return nil
}

// Kill kills the node's agent and waits until it is gone. What the agent set
// up stays.
func (n *Node) Kill() error {
	if err := n.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-n.Ended()
	return nil
}

// Stop ends the node's agent in order, and waits until it is gone; it is
// killed after a few seconds, or when ctx ends. One that something else killed,
// before or meanwhile, is gone, too.
func (n *Node) Stop(ctx context.Context) error {
	a := n.current()
	if a == nil || !n.Running() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	err := n.Signal(syscall.SIGTERM)
	if err == nil {
		select {
		case <-a.ended:
		case <-ctx.Done():
			err = fmt.Errorf("stop %s: it did not end: %w%s", n.Name, context.Cause(ctx), a.tail)
		}
	}
	if errors.Is(err, os.ErrProcessDone) { // its parent has noticed, and Ended is about to say so
		err = nil
	}
	if err != nil {
		a.cmd.Process.Kill()
	}
	<-a.ended
	if err == nil && !a.cmd.ProcessState.Success() && !a.killed() {
		err = fmt.Errorf("stop %s: %w%s", n.Name, a.err, a.tail)
	}
	return err
}

// killed says whether SIGKILL ended the agent. Only for one that has ended.
func (a *agent) killed() bool {
	status, ok := a.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Down removes what an agent left that did not end in order.
func (n *Node) Down(ctx context.Context) error {
	return runDown(ctx, n.NS, n.plan.Binary, n.Instance)
}

// shutDown ends the agent and removes what it left, however it ended.
func (n *Node) shutDown() error {
	a := n.current()
	if a == nil {
		return nil
	}
	thawErr := n.thaw() // a frozen agent cannot take the node down
	ctx, cancel := context.WithTimeout(context.Background(), 2*stopTime)
	defer cancel()
	stopErr := errors.Join(thawErr, n.Stop(ctx))
	if stopErr == nil && a.cmd.ProcessState.Success() {
		return nil
	}
	return errors.Join(stopErr, n.Down(ctx))
}

// runDown runs shoal down for an instance in its namespace.
func runDown(ctx context.Context, ns *Namespace, binary, instance string) error {
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	_, err := ns.Run(ctx, binary, "down", clusterName, "--instance", instance)
	return err
}
