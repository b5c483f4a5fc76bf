package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/netdev"
	"golang.org/x/sys/unix"
)

// State is what an agent did to the host, written down before it is done, so
// that whoever comes after it can undo it. It lies under /run: after a boot
// there is nothing to undo.
type State struct {
	PID       int              `json:"pid"`
	StartTime uint64           `json:"start_time"` // of the process, in clock ticks since boot: tells apart processes of one id
	Namespace uint64           `json:"namespace"`  // cookie of the network namespace that all this is in
	Cluster   *cluster.Cluster `json:"cluster"`
	Addresses []AddedAddress   `json:"addresses"`
	Sysctls   netdev.Sysctls   `json:"sysctls"`
	Tracking  bool             `json:"tracking"` // connection tracking was turned on
	Heartbeat ProcessID        `json:"heartbeat"`
}

// ProcessID is a process, told apart from later ones of the same id by when it
// started, in clock ticks since boot.
type ProcessID struct {
	PID       int    `json:"pid"`
	StartTime uint64 `json:"start_time"`
}

// kill ends the process, if it is that one still, and waits until it is gone: a
// heartbeat process that was stopped must not wake up beside its successor.
func (p ProcessID) kill() error {
	if now, err := readProcess(p.PID); p.PID == 0 || err != nil || now.start != p.StartTime {
		return nil
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err == nil {
		defer unix.Close(fd)
		err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
	if err == nil {
		var ended bool
		if ended, err = awaitExit(context.Background(), fd, stopTimeout); !ended && err == nil {
			err = errors.New("it does not end")
		}
	}
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end the heartbeat process %d of an agent that is gone: %w", p.PID, err)
	}
	return nil
}

// AddedAddress is a cluster address on an interface. The index stays with the
// interface when that is given another name.
type AddedAddress struct {
	Interface string     `json:"interface"`
	Index     int        `json:"index"`
	Address   netip.Addr `json:"address"`
}

// errElsewhere: the cluster's programs and addresses are where this process is
// not.
var errElsewhere = errors.New("this cluster was started in another network namespace: go there, or take another --instance")

// checkNamespace keeps a cluster's programs from being taken away, or over, in
// a namespace that they are not in, while its addresses stay where they are.
// Where that namespace is gone, and the interfaces with it, vanished is true:
// only files are left.
func (s *State) checkNamespace(p Paths) (vanished bool, err error) {
	here, err := netdev.Namespace()
	if err != nil || s.Namespace == here {
		return false, err
	}
	if !s.gone() {
		return false, errElsewhere
	}
	snapshot, err := dataplane.Inspect(p.Pins())
	if errors.Is(err, dataplane.ErrNotPinned) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	for _, ifc := range snapshot.Interfaces {
		if ifc.Attached {
			return false, errElsewhere
		}
	}
	return true, nil
}

// loadState returns nil where there is none.
func loadState(p Paths) (*State, error) {
	data, err := os.ReadFile(p.state())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what the last agent did: %w", err)
	}
	s := new(State)
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("read what the last agent did: %s: %w; without that file `shoal down %s` goes by the data plane", p.state(), err, p.Cluster)
	}
	return s, nil
}

// save replaces the file at once: it is never half written.
func (s *State) save(p Paths) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = replaceFile(p.state(), data)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", p.state(), err)
	}
	return nil
}

// replaceFile makes the file's directory, too: again where another cluster, the
// last one in it, has removed it meanwhile.
func replaceFile(path string, data []byte) (err error) {
	partial := path + ".partial"
	for range 10 {
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = os.WriteFile(partial, data, 0o600)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return err
	}
	return os.Rename(partial, path)
}

func removeState(p Paths) error {
	_ = os.Remove(p.state() + ".partial")
	_ = os.Remove(p.socket())
	if err := os.Remove(p.state()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", p.state(), err)
	}
	return nil
}

// Running reports whether the agent that wrote the state still runs.
func (s *State) Running() bool {
	p, err := readProcess(s.PID)
	return err == nil && p.start == s.StartTime && !p.zombie
}

// gone reports whether nothing is left of that agent: while it ends, its first
// thread may be a zombie and others still hold what the process holds.
func (s *State) gone() bool {
	p, err := readProcess(s.PID)
	return err != nil || p.start != s.StartTime
}

type process struct {
	start  uint64 // clock ticks since boot
	zombie bool
}

// readProcess reads /proc/PID/stat: fields 3 (state) and 22 (start time) of
// proc(5). The second field, a name in parentheses, may hold anything.
func readProcess(pid int) (process, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	const first = 3 // field that is fields[0]
	if len(fields) <= 22-first {
		return process{}, fmt.Errorf("/proc/%d/stat: unknown form", pid)
	}
	start, err := strconv.ParseUint(fields[22-first], 10, 64)
	return process{start, fields[0] == "Z"}, err
}
