package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/shoal-net/shoal/internal/cluster"
	"golang.org/x/sys/unix"
)

// MountFS makes dir a BPF file system, unless it is one.
func MountFS(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	if st.Type == unix.BPF_FS_MAGIC {
		return nil
	}
	initial, err := os.Readlink("/proc/1/ns/mnt")
	if self, _ := os.Readlink("/proc/thread-self/ns/mnt"); err == nil && self != initial {
		return ErrMountNamespace
	}
	if err := unix.Mount("bpf", dir, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return fmt.Errorf("mount a BPF file system on %s: %w", dir, err)
	}
	return nil
}

// UnmountFS unmounts and removes a BPF file system without pins; one in use
// stays. Files at its top are the kernel's own (CONFIG_BPF_PRELOAD).
func UnmountFS(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || slices.ContainsFunc(entries, fs.DirEntry.IsDir) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look into %s: %w", dir, err)
	}
	if err := unix.Unmount(dir, 0); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return nil
}

// openOrMake opens a pinned map, or makes one where none that fits is pinned.
// The data section says by which version all was made: it fits, or nothing does.
func openOrMake(spec *ebpf.MapSpec, path string) (m *ebpf.Map, made bool, err error) {
	m, err = ebpf.LoadPinnedMap(path, nil)
	switch {
	case err == nil && spec.Compatible(m) == nil:
		return m, false, nil
	case err == nil:
		m.Close()
		if spec.Name == dataSection {
			return nil, false, fmt.Errorf("%s: %w", path, ErrOtherVersion)
		}
		if err := os.Remove(path); err != nil {
			return nil, false, fmt.Errorf("unpin %s: %w", path, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, false, fmt.Errorf("open pinned map %s: %w", path, err)
	}
	m, err = ebpf.NewMap(spec)
	if err != nil {
		return nil, false, fmt.Errorf("make map %s: %w", spec.Name, err)
	}
	if err := m.Pin(path); err != nil {
		m.Close()
		return nil, false, fmt.Errorf("pin %s: %w", path, err)
	}
	return m, true, nil
}

// removeOthers removes the links of ingress that are not of the given mode.
func removeOthers(dir string, mode cluster.Attach) error {
	var errs []error
	for other, h := range ingressHooks {
		if other != mode {
			errs = append(errs, removeLink(filepath.Join(dir, h.pin)))
		}
	}
	return errors.Join(errs...)
}

// removeLink unpins a link; with the last reference the program is detached.
func removeLink(pin string) error {
	l, err := link.LoadPinnedLink(pin, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open pinned link %s: %w", pin, err)
	}
	defer l.Close()
	if err := l.Unpin(); err != nil {
		return fmt.Errorf("unpin %s: %w", pin, err)
	}
	return nil
}

// removePins removes a cluster's or an interface's pins: ingress first, so
// that nothing is let in that the rest would not stand behind.
func removePins(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look into %s: %w", dir, err)
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, removePins(filepath.Join(dir, e.Name())))
		}
	}
	for _, h := range []hook{ingressHooks[cluster.AttachNative], ingressHooks[cluster.AttachGeneric],
		ingressHooks[cluster.AttachTCX], typeHook, egressHook} {
		errs = append(errs, removeLink(filepath.Join(dir, h.pin)))
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("unpin %s: %w", path, err))
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, fmt.Errorf("remove %s: %w", dir, err))
	}
	return errors.Join(errs...)
}
