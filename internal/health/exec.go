package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
)

// execPath is where programs find others.
const execPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// outputDelay is how long a process that left the group may keep the output
// open after all others are gone.
const outputDelay = 100 * time.Millisecond

// execProbe asks a program. It and its children are a process group; whatever
// of it is left when the program ends, or when ctx does, is killed.
func execProbe(c cluster.Check) probe {
	return func(ctx context.Context) error {
		var output firstLine
		cmd := &exec.Cmd{
			Path: c.Command[0], Args: c.Command, Dir: "/",
			// The agent's own variables are not the program's: with them it
			// could speak for the agent to the service manager.
			Env:    []string{execPath},
			Stdout: &output, Stderr: &output,
			SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
			WaitDelay:   outputDelay,
		}
		// The program's parent is this thread (prctl(2), PR_SET_PDEATHSIG).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			return err
		}
		err := waitGroup(ctx, cmd)
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("did not end within %s", c.Timeout)
		}
		if err != nil && output.String() != "" {
			err = fmt.Errorf("%w: %s", err, output.String())
		}
		return err
	}
}

// waitGroup waits for a command, and kills its process group. It does so before
// the command is reaped: until then no other group can have its number.
func waitGroup(ctx context.Context, cmd *exec.Cmd) error {
	pid := cmd.Process.Pid
	killed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(killed)
		_ = unix.Kill(-pid, unix.SIGKILL) // it may have ended just now
	})
	waitErr := awaitExit(pid)
	if !stop() {
		<-killed
	}
	_ = unix.Kill(-pid, unix.SIGKILL) // fails where nothing is left
	err := cmd.Wait()
	switch {
	case errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState.Success():
		err = nil
	case waitErr != nil && err == nil:
		err = waitErr
	}
	return err
}

// awaitExit waits until a child has ended, and does not reap it.
func awaitExit(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// firstLine keeps the first line that has text of what is written, up to
// maxWords bytes, and takes the rest without keeping it.
type firstLine struct {
	line []byte
	done bool
}

func (f *firstLine) Write(p []byte) (int, error) {
	for rest := p; !f.done && len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		f.line = append(f.line, line[:min(len(line), maxWords+1-len(f.line))]...)
		if ended && len(bytes.TrimSpace(f.line)) == 0 {
			f.line = nil
		} else {
			f.done = ended || len(f.line) > maxWords
		}
		rest = after
	}
	return len(p), nil
}

func (f *firstLine) String() string { return oneLine(string(f.line)) }
