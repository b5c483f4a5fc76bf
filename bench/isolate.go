package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// childMark tells the program that it runs in namespaces of its own.
const childMark = "SHOAL_BENCH_CHILD"

// runIsolated starts this program again in a mount and a network namespace of
// its own. What a run makes lives in them and in namespaces without a name:
// all of it is gone when the process is, however that ends. Only files in the
// temporary directory and in /var/lib/shoal stay if it is killed.
func runIsolated() error {
	runtime.LockOSThread() // the parent-death signal is the starting thread's
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), childMark+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{
		Unshareflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET,
		Pdeathsig:    unix.SIGKILL,
	}
	err := cmd.Run()
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("make namespaces: %w; run it as root", err)
	}
	return err
}

// mountBPF hides /run behind an empty file system with a BPF file system in it,
// in this process's mount namespace only, and returns the latter's directory.
func mountBPF() (string, error) {
	const dir = "/run/shoal/bpf"
	if err := unix.Mount("run", "/run", "tmpfs", 0, "mode=0755"); err != nil {
		return "", fmt.Errorf("mount a file system on /run: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make %s: %w", dir, err)
	}
	if err := unix.Mount("bpf", dir, "bpf", 0, "mode=0700"); err != nil {
		return "", fmt.Errorf("mount a BPF file system on %s: %w", dir, err)
	}
	return dir, nil
}
