package agent

import (
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
	"github.com/shoal-net/shoal/internal/netdev"
)

// State is what an agent did to the host, written down before it is done, so
// that whoever comes after it can undo it. It lies under /run: after a boot
// there is nothing to undo.
type State struct {
	PID       int              `json:"pid"`
	StartTime uint64           `json:"start_time"` // of the process, in clock ticks since boot: tells apart processes of one id
	Cluster   *cluster.Cluster `json:"cluster"`
	Addresses []AddedAddress   `json:"addresses"`
	Sysctls   netdev.Sysctls   `json:"sysctls"`
	Tracking  bool             `json:"tracking"` // connection tracking was turned on
}

// AddedAddress is a cluster address on an interface.
type AddedAddress struct {
	Interface string     `json:"interface"`
	Address   netip.Addr `json:"address"`
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
		return nil, fmt.Errorf("read what the last agent did: %s: %w", p.state(), err)
	}
	return s, nil
}

// save replaces the file at once: it is never half written.
func (s *State) save(p Paths) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", p.state(), err)
	}
	if err := os.MkdirAll(filepath.Dir(p.state()), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", p.state(), err)
	}
	partial := p.state() + ".partial"
	if err := os.WriteFile(partial, data, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", p.state(), err)
	}
	if err := os.Rename(partial, p.state()); err != nil {
		return fmt.Errorf("write %s: %w", p.state(), err)
	}
	return nil
}

func removeState(p Paths) error {
	_ = os.Remove(p.state() + ".partial")
	if err := os.Remove(p.state()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", p.state(), err)
	}
	removeEmpty(filepath.Dir(p.state()), filepath.Dir(filepath.Dir(p.state())))
	return nil
}

// Running reports whether the agent that wrote the state still runs.
func (s *State) Running() bool {
	start, err := startTime(s.PID)
	return err == nil && start == s.StartTime
}

// startTime reads when a process began: field 22 of /proc/PID/stat, proc(5).
// The second field, a name in parentheses, may hold anything.
func startTime(pid int) (uint64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(data[strings.LastIndexByte(string(data), ')'):]), " ")
	fields := strings.Fields(rest)
	const startTimeField = 22 - 3 // the rest begins with the third field
	if !found || len(fields) <= startTimeField {
		return 0, fmt.Errorf("/proc/%d/stat: unknown form", pid)
	}
	if fields[0] == "Z" {
		return 0, errors.New("has ended")
	}
	return strconv.ParseUint(fields[startTimeField], 10, 64)
}
