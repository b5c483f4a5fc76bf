package netdev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// Below /proc/sys/net the kernel shows the settings of the network namespace
// of the thread that opens the file (net/sysctl_net.c), not of the process's
// first thread, as /proc/net and /proc/self/net do.
const sysctlRoot = "/proc/sys/"

// Change is a sysctl that was changed.
type Change struct {
	Key string `json:"key"` // the path below /proc/sys
	Old string `json:"old"`
	New string `json:"new"`
}

// Sysctls sets sysctls and remembers what they were. Changes is what to keep
// (as JSON, in a file) for a later process that is to restore them; the zero
// value has none.
type Sysctls struct {
	Changes []Change `json:"changes"`
	// Save, if not nil, keeps Changes before a sysctl is written: a process
	// that is killed in between has left nothing unknown behind.
	Save func() error `json:"-"`
}

// Set gives a sysctl its value, unless want.If forbids it or the value is
// there already. Nothing else changes: where the kernel alters further settings
// along with one (see writeForwarding), these are put back. Setting a key again
// keeps the value that is remembered for it. A missing interface is ErrNoLink.
func (s *Sysctls) Set(want Sysctl) (old string, changed bool, err error) {
	old, err = readSysctl(want.Key)
	if err != nil {
		return "", false, fmt.Errorf("set sysctl %s to %s: %w", want.Key, want.Value, err)
	}
	if old == want.Value || want.If != "" && old != want.If {
		return old, false, nil
	}
	// Remembered first: a write that fails halfway is to be restored, too.
	i := slices.IndexFunc(s.Changes, func(c Change) bool { return c.Key == want.Key })
	if i < 0 {
		s.Changes = append(s.Changes, Change{Key: want.Key, Old: old, New: want.Value})
	} else {
		s.Changes[i].New = want.Value
	}
	if s.Save != nil {
		if err := s.Save(); err != nil {
			return old, false, err
		}
	}
	if err := writeSysctl(want.Key, want.Value); err != nil {
		return old, false, fmt.Errorf("set sysctl %s to %s: %w", want.Key, want.Value, err)
	}
	return old, true, nil
}

// Restore gives the sysctls their old values back, last change first, and
// forgets them. One that no longer has the value that Set gave it was changed
// by somebody else: it is left alone and returned, with the present value as
// New. One whose interface is gone is forgotten. One that cannot be written
// stays in Changes.
func (s *Sysctls) Restore() (kept []Change, err error) {
	var failed []Change
	var errs []error
	for _, c := range slices.Backward(s.Changes) {
		now, err := readSysctl(c.Key)
		switch {
		case errors.Is(err, ErrNoLink):
			continue
		case err == nil && now == c.Old:
			continue
		case err == nil && now != c.New:
			kept = append(kept, Change{Key: c.Key, Old: c.Old, New: now})
			continue
		case err == nil:
			err = writeSysctl(c.Key, c.Old)
		}
		if err != nil {
			failed = append(failed, c)
			errs = append(errs, fmt.Errorf("set sysctl %s back to %s: %w", c.Key, c.Old, err))
		}
	}
	slices.Reverse(failed)
	s.Changes = failed
	return kept, errors.Join(errs...)
}

func readSysctl(key string) (string, error) {
	b, err := os.ReadFile(sysctlRoot + key)
	return strings.TrimSpace(string(b)), sysctlError(key, err)
}

func writeSysctl(key, value string) error {
	if strings.HasPrefix(key, ipv6Conf) && path.Base(key) == "forwarding" {
		return writeForwarding(key, value)
	}
	return writeFile(key, value)
}

func writeFile(key, value string) error {
	return sysctlError(key, os.WriteFile(sysctlRoot+key, []byte(value), 0))
}

// sysctlError says what a missing file means.
func sysctlError(key string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, none := os.Stat(sysctlRoot + "net/ipv6"); none != nil && strings.HasPrefix(key, "net/ipv6/") {
		return fmt.Errorf("this kernel runs without IPv6: %w", err)
	}
	dir := path.Dir(key)
	if _, none := os.Stat(sysctlRoot + dir); none != nil && path.Base(path.Dir(dir)) == "conf" {
		// The kernel takes the directory away with the interface, and with its
		// last use of the protocol there (an MTU below 1280, for IPv6).
		return fmt.Errorf("%w, or it is too small for the protocol", ErrNoLink)
	}
	return err
}
