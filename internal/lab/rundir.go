package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// labsDir holds a directory for each lab. It is locked with flock(2) by the
// lab's process, so that the kernel itself says which labs are alive.
const labsDir = "/run/shoal/labs"

const ownerFile = "owner" // the pid of the lab's process, for people

// A runDir is the locked directory of a lab.
type runDir struct {
	path string
	lock *os.File
}

// errAlive says that a lab's directory is locked by another process.
var errAlive = errors.New("in use")

// makeRunDir makes and locks the directory of a new lab.
func makeRunDir(name string) (*runDir, error) {
	path := filepath.Join(labsDir, name)
	if err := mkdir(path); err != nil {
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make the lab's directory: %w", err)
		}
		d, err := lockRunDir(path)
		if err != nil {
			return nil, err
		}
		d.lock.Close()
		return nil, fmt.Errorf("lab %s was left by a crash: remove it with: shoal lab clean", name)
	}
	d, err := lockRunDir(path)
	if err != nil {
		return nil, err
	}
	owner := fmt.Sprintf("%d\n", os.Getpid())
	if err := os.WriteFile(d.file(ownerFile), []byte(owner), 0o644); err != nil {
		return nil, errors.Join(fmt.Errorf("note the lab's owner: %w", err), d.remove())
	}
	return d, nil
}

// mkdir makes a directory and its parents, of which the last may vanish
// meanwhile: another lab removes it when it was the last one.
func mkdir(path string) (err error) {
	for range 10 {
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err = os.Mkdir(path, 0o755); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// lockRunDir locks a lab's directory; it fails with errAlive where another
// process has it.
func lockRunDir(path string) (*runDir, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the lab's directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		owner, _ := os.ReadFile(filepath.Join(path, ownerFile))
		return nil, fmt.Errorf("lab %s is %w by process %s: end that or choose another name",
			filepath.Base(path), errAlive, strings.TrimSpace(string(owner)))
	}
	return &runDir{path, f}, nil
}

func (d *runDir) file(name string) string { return filepath.Join(d.path, name) }

// remove removes the directory, the lock with it, and parents that are empty.
func (d *runDir) remove() error {
	err := os.RemoveAll(d.path)
	d.lock.Close()
	for dir := labsDir; dir != "/run"; dir = filepath.Dir(dir) {
		if os.Remove(dir) != nil { // others have something there
			break
		}
	}
	if err != nil {
		return fmt.Errorf("remove the lab's directory: %w", err)
	}
	return nil
}

// memoryDir is where a node keeps what it must know after a restart of its host
// (internal/agent). Nodes of a lab are new ones each time.
const memoryDir = "/var/lib/shoal"

// forget removes what a node has written down for its next start.
func forget(instance string) error {
	if err := os.RemoveAll(filepath.Join(memoryDir, instance)); err != nil {
		return fmt.Errorf("remove the memory of a node: %w", err)
	}
	_ = os.Remove(memoryDir) // fails where another node has something there
	return nil
}
