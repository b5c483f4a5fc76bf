package agent

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/shoal-net/shoal/internal/dataplane"
	"golang.org/x/sys/unix"
)

// lockRoot keeps agents that come and go from mounting and unmounting under
// each other's feet. The directory that is locked may be removed by whoever
// holds the lock: then it is made anew.
func lockRoot() (unlock func(), err error) {
	for {
		if err := os.MkdirAll(root, 0o755); err != nil {
			return nil, fmt.Errorf("make %s: %w", root, err)
		}
		f, err := os.Open(root)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", root, err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", root, err)
		}
		held, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("look at %s: %w", root, err)
		}
		if now, err := os.Stat(root); err == nil && os.SameFile(held, now) {
			return func() { f.Close() }, nil
		}
		f.Close()
	}
}

// prepareRoot makes the BPF file system and the cluster's place in it.
func prepareRoot(p Paths) error {
	unlock, err := lockRoot()
	if err != nil {
		return err
	}
	defer unlock()
	if err := dataplane.MountFS(bpfRoot); err != nil {
		return err
	}
	if err := os.MkdirAll(p.Pins(), 0o700); err != nil {
		return fmt.Errorf("make %s: %w", p.Pins(), err)
	}
	return nil
}

// removeRoot removes what is empty, up to shoal's directory under /run.
func removeRoot(p Paths) {
	if _, err := os.Stat(root); err != nil {
		return
	}
	unlock, err := lockRoot()
	if err != nil {
		return
	}
	defer unlock()
	instance := filepath.Dir(p.state())
	removeEmpty(p.Pins(), filepath.Dir(p.Pins()), instance, filepath.Dir(instance))
	_ = dataplane.UnmountFS(bpfRoot) // in use: another cluster's pins are in it
	removeEmpty(root)
}
