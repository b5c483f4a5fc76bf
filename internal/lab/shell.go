package lab

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Enter replaces this process by a command inside a part of a lab: node1,
// clients, server, router or switch. Only the network is another: files,
// /sys with them, are this machine's. It returns only if it fails.
func Enter(lab, part string, command, env []string) error {
	if err := checkRoot(); err != nil {
		return err
	}
	n, err := openNetwork(lab)
	if err != nil {
		return err
	}
	ns := n[part]
	if ns == nil && len(n) == 0 {
		return fmt.Errorf("there is no lab %s: start one with: shoal lab --name %s", lab, lab)
	}
	if ns == nil {
		var parts []string
		for p := range n {
			parts = append(parts, p)
		}
		slices.Sort(parts)
		return fmt.Errorf("lab %s has no %q: it has %s", lab, part, strings.Join(parts, ", "))
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return fmt.Errorf("find the command: %w", err)
	}
	runtime.LockOSThread() // exec keeps the namespace of the thread that calls it
	if err := netns.Set(ns.handle); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", ns.Name, err)
	}
	command = append([]string{filepath.Base(path)}, command[1:]...)
	return fmt.Errorf("run %s: %w", path, unix.Exec(path, command, env))
}
