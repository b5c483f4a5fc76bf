package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// heartbeatCommand is the first argument of the process that an agent starts
// to send heartbeats.
const heartbeatCommand = "heartbeat"

// ErrNoHeartbeat: the node's agent has no heartbeat process.
var ErrNoHeartbeat = errors.New("the agent has no heartbeat process")

// Children lists the processes that a process started and that it has not
// waited for yet.
func Children(pid int) ([]int, error) {
	// A child belongs to the thread that started it.
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil, err
	}
	var all []int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		for _, word := range bytes.Fields(text) {
			child, err := strconv.Atoi(string(word))
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", file, err)
			}
			all = append(all, child)
		}
	}
	return all, nil
}

// PID is the process of the node's agent, 0 where none was started.
func (n *Node) PID() int {
	if a := n.current(); a != nil {
		return a.cmd.Process.Pid
	}
	return 0
}

// HeartbeatPID finds the heartbeat process of the node's agent. It fails with
// ErrNoHeartbeat where there is none.
func (n *Node) HeartbeatPID() (int, error) {
	if !n.Running() {
		return 0, fmt.Errorf("%s: %w", n.Name, ErrNoHeartbeat)
	}
	return HeartbeatOf(n.PID())
}

// HeartbeatOf finds the heartbeat process of an agent. It fails with
// ErrNoHeartbeat where there is none.
func HeartbeatOf(agent int) (int, error) {
	children, err := Children(agent)
	if err != nil {
		return 0, err
	}
	for _, pid := range children {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if args := bytes.Split(line, []byte{0}); len(args) > 1 && string(args[1]) == heartbeatCommand {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("process %d: %w", agent, ErrNoHeartbeat)
}

// pidsOf finds those of the agent and the heartbeat process that are asked
// for, the agent's last: it is not to see the other one go. An agent without a
// heartbeat process is all there is of both.
func pidsOf(nodes []*Node, agent, heartbeat bool) ([]int, error) {
	var all []int
	for _, n := range nodes {
		if !n.Running() {
			return nil, fmt.Errorf("the agent of %s does not run", n.Name)
		}
		if heartbeat {
			pid, err := n.HeartbeatPID()
			if err == nil {
				all = append(all, pid)
			} else if !agent {
				return nil, err
			}
		}
		if agent {
			all = append(all, n.PID())
		}
	}
	return all, nil
}

// signalUnlessGone signals processes, of which some may have ended.
func signalUnlessGone(pids []int, sig unix.Signal) error {
	for _, pid := range pids {
		if err := unix.Kill(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("signal process %d: %w", pid, err)
		}
	}
	return nil
}

func kill(nodes []*Node, agent, heartbeat bool) (Heal, error) {
	pids, err := pidsOf(nodes, agent, heartbeat)
	if err == nil {
		err = signalUnlessGone(pids, unix.SIGKILL)
	}
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		if !agent {
			return nil // the agent has started another
		}
		return each(nodes, func(n *Node) error {
			<-n.Ended()
			return n.Start(ctx)
		})
	}, nil
}

func freeze(nodes []*Node, agent, heartbeat bool) (Heal, error) {
	pids, err := pidsOf(nodes, agent, heartbeat)
	if err == nil {
		err = signalUnlessGone(pids, unix.SIGSTOP)
	}
	if err != nil {
		return nil, errors.Join(err, signalUnlessGone(pids, unix.SIGCONT))
	}
	// A heartbeat process whose agent is frozen, or the other way round, may
	// well have ended.
	return func(context.Context) error { return signalUnlessGone(pids, unix.SIGCONT) }, nil
}

// thaw lets what is frozen of a node go on.
func (n *Node) thaw() error {
	if !n.Running() {
		return nil
	}
	pids, err := Children(n.PID())
	if err != nil {
		return err
	}
	return signalUnlessGone(append(pids, n.PID()), unix.SIGCONT)
}

func (l *Lab) restartAll() (Heal, error) {
	pids, err := pidsOf(l.Nodes, true, true)
	if err == nil {
		err = signalUnlessGone(pids, unix.SIGKILL)
	}
	if err != nil {
		return nil, err
	}
	return func(context.Context) error { return nil }, each(l.Nodes, func(n *Node) error {
		<-n.Ended()
		return n.Start(context.Background())
	})
}

// saturate starts two processes for each CPU that never wait for anything. They
// have no priority, also where the lab itself has.
func (l *Lab) saturate() (Heal, error) {
	var hogs []*exec.Cmd
	end := func(context.Context) error {
		var errs []error
		for _, hog := range hogs {
			errs = append(errs, hog.Process.Kill())
			hog.Wait() // says that it was killed
		}
		return errors.Join(errs...)
	}
	for range 2 * runtime.NumCPU() {
		hog := exec.Command("/bin/sh", "-c", "while :; do :; done")
		if err := l.Switch.Start(hog); err != nil {
			return nil, errors.Join(fmt.Errorf("start a process that uses CPU time: %w", err), end(context.Background()))
		}
		hogs = append(hogs, hog)
		ordinary := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}
		if err := unix.SchedSetAttr(hog.Process.Pid, &ordinary, 0); err != nil {
			return nil, errors.Join(fmt.Errorf("take the priority from a process that uses CPU time: %w", err), end(context.Background()))
		}
	}
	return end, nil
}
