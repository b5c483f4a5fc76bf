package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// graceTime is how long processes in a lab's namespaces have to end.
const graceTime = 2 * time.Second

// Clean removes what crashed labs left: their processes, what their agents set
// up (with the given shoal binary), namespaces and directories. Labs that are
// alive are left alone. It returns the names of those removed.
func Clean(ctx context.Context, binary string) ([]string, error) {
	if err := checkRoot(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(labsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list labs: %w", err)
	}
	var cleaned []string
	var errs []error
	for _, e := range entries {
		switch err := cleanOne(ctx, e.Name(), binary); {
		case err == nil:
			cleaned = append(cleaned, e.Name())
		case !errors.Is(err, errAlive):
			errs = append(errs, fmt.Errorf("clean lab %s: %w", e.Name(), err))
		}
	}
	strays, err := cleanStrays(ctx, binary)
	return append(cleaned, strays...), errors.Join(append(errs, err)...)
}

func cleanOne(ctx context.Context, name, binary string) error {
	dir, err := lockRunDir(filepath.Join(labsDir, name))
	if errors.Is(err, fs.ErrNotExist) { // it has just closed itself
		return errAlive
	}
	if err != nil {
		return err
	}
	net, err := openNetwork(name)
	if err != nil {
		return errors.Join(err, dir.lock.Close())
	}
	// Agents first: they take down by themselves what they set up.
	err = endProcesses(net)
	configs, _ := filepath.Glob(dir.file("node*.yaml"))
	for _, file := range configs {
		node := strings.TrimSuffix(filepath.Base(file), ".yaml")
		instance := plan{Options{Name: name}}.instance(node)
		if ns := net[node]; ns != nil {
			err = errors.Join(err, runDown(ctx, ns, binary, instance))
		} else {
			err = errors.Join(err, cleanStray(ctx, instance, binary))
		}
		err = errors.Join(err, forget(instance))
	}
	return errors.Join(err, removeNetwork(net), dir.remove())
}

// openNetwork opens the namespaces that are left of a lab.
func openNetwork(name string) (network, error) {
	prefix := plan{Options{Name: name}}.namespace("")
	paths, err := filepath.Glob(filepath.Join(netnsDir, prefix+"*"))
	if err != nil {
		return nil, err
	}
	net := network{}
	for _, path := range paths {
		part := strings.TrimPrefix(filepath.Base(path), prefix)
		if !isPart(part) { // of a lab whose name goes on
			continue
		}
		ns, err := OpenNamespace(filepath.Base(path))
		if err != nil {
			return net, err
		}
		net[part] = ns
	}
	return net, nil
}

func isPart(part string) bool {
	switch part {
	case partSwitch, partClients, partServer, partRouter:
		return true
	}
	digits, ok := strings.CutPrefix(part, "node")
	_, err := strconv.Atoi(digits)
	return ok && err == nil
}

// removeNetwork ends what still runs in the namespaces and removes them.
func removeNetwork(n network) error {
	err := endProcesses(n)
	for _, ns := range n {
		err = errors.Join(err, ns.remove())
	}
	return err
}

// endProcesses ends all processes in the namespaces but this one: shells that
// someone opened, agents of a lab that was killed. They get time to end in
// order, then they are killed.
func endProcesses(n network) error {
	deadline := time.Now().Add(graceTime)
	asked := map[int]bool{}
	for {
		pids, err := processesIn(n)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			switch {
			case time.Now().After(deadline):
				unix.Kill(pid, unix.SIGKILL)
			case !asked[pid]:
				asked[pid] = true
				unix.Kill(pid, unix.SIGTERM)
				unix.Kill(pid, unix.SIGHUP) // what an interactive shell heeds
				unix.Kill(pid, unix.SIGCONT)
			}
		}
		if time.Now().After(deadline.Add(graceTime)) {
			return fmt.Errorf("processes %v in the lab's namespaces do not end", pids)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// processesIn lists the processes that are in one of the namespaces.
func processesIn(n network) ([]int, error) {
	type inode struct{ dev, ino uint64 }
	inodes := map[inode]bool{}
	for _, ns := range n {
		var st unix.Stat_t
		if err := unix.Fstat(int(ns.handle), &st); err != nil {
			return nil, fmt.Errorf("identify %s: %w", ns.Name, err)
		}
		inodes[inode{st.Dev, st.Ino}] = true
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(filepath.Join("/proc", e.Name(), "ns/net"), &st) == nil && inodes[inode{st.Dev, st.Ino}] {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
