package lab

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// forks starts all child processes from one thread that lives as long as the
// process: the signal that a child asks for at its parent's death comes when
// the thread that forked it ends (prctl(2), PR_SET_PDEATHSIG).
var forks forker

type forker struct {
	once sync.Once
	jobs chan func()
}

func (f *forker) start(ns *Namespace, cmd *exec.Cmd) error {
	f.once.Do(func() {
		f.jobs = make(chan func())
		go func() {
			runtime.LockOSThread()
			for job := range f.jobs {
				job()
			}
		}()
	})
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if cmd.SysProcAttr.Pdeathsig == 0 {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	// Ctrl-C on the terminal is for the lab, which ends its children in order.
	cmd.SysProcAttr.Setpgid = true
	result := make(chan error)
	f.jobs <- func() { result <- ns.Do(cmd.Start) }
	return <-result
}
