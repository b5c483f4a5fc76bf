package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
)

// readyVariable names, in the environment of a process in the background, its
// file descriptor to whoever started it.
const readyVariable = "SHOAL_READY_FD"

// upInBackground runs shoal up in a process of its own, and returns when that
// is ready, or has failed and said why.
func upInBackground(ctx context.Context, env *Env, args []string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	defer r.Close()
	args = slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "--background" })
	cmd := exec.Command("/proc/self/exe", append([]string{upName}, args...)...)
	cmd.Args[0] = "shoal"
	cmd.Stdout, cmd.Stderr = env.Stdout, env.Stderr
	cmd.ExtraFiles = []*os.File{w}
	cmd.Env = append(os.Environ(), readyVariable+"=3")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // the terminal is not its own
	err = cmd.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("start %s: %w", upName, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	if n, _ := r.Read(make([]byte, 1)); n == 1 {
		return cmd.Process.Release()
	}
	_ = cmd.Wait()
	return errQuiet
}

// tellParent says that the node is ready, where somebody waits for that.
func tellParent() {
	if os.Getenv(readyVariable) == "3" {
		f := os.NewFile(3, "parent")
		_, _ = f.Write([]byte{1})
		f.Close()
	}
}
