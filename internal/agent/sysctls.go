package agent

import (
	"errors"
	"slices"

	"github.com/shoal-net/shoal/internal/netdev"
)

// Some sysctls are the host's own, and several clusters may need them. Each
// cluster writes down what such a sysctl was before the first of them changed
// it; the last one puts it back. The lock of the root keeps clusters that come
// and go at once from all being the last, or none.

// setSysctls sets what the cluster needs and is not so.
func (a *Agent) setSysctls() error {
	unlock, err := lockRoot()
	if err != nil {
		return err
	}
	defer unlock()
	others, err := othersChanges(a.paths)
	if err != nil {
		return err
	}
	for _, want := range netdev.Needed(a.cluster) {
		old, changed, err := a.state.Sysctls.Set(want)
		if errors.Is(err, netdev.ErrNoLink) {
			continue // ensure says so where it matters
		}
		if err != nil {
			return err
		}
		if a.share(others, want) {
			if err := a.state.save(a.paths); err != nil {
				return err
			}
		}
		if changed {
			a.log.Info("set a sysctl", "key", want.Key, "from", old, "to", want.Value, "why", want.Why)
		}
	}
	return nil
}

// share notes a sysctl that another cluster has changed to what this one needs.
func (a *Agent) share(others map[string]netdev.Change, want netdev.Sysctl) bool {
	theirs, found := others[want.Key]
	mine := &a.state.Sysctls.Changes
	if !found || theirs.New != want.Value || changes(*mine, want.Key) {
		return false
	}
	*mine = append(*mine, theirs)
	return true
}

// dropSysctls puts back what an earlier description needed and the present one
// does not.
func (a *Agent) dropSysctls() error {
	needed := make(map[string]bool)
	for _, want := range netdev.Needed(a.cluster) {
		needed[want.Key] = true
	}
	unlock, err := lockRoot()
	if err != nil {
		return err
	}
	defer unlock()
	stale := &State{}
	var kept []netdev.Change
	for _, c := range a.state.Sysctls.Changes {
		if needed[c.Key] {
			kept = append(kept, c)
		} else {
			stale.Sysctls.Changes = append(stale.Sysctls.Changes, c)
		}
	}
	if _, err := restoreSysctls(a.paths, stale); err != nil {
		return err
	}
	a.state.Sysctls.Changes = kept
	return nil
}

// restoreSysctls puts back what no other cluster needs.
func restoreSysctls(p Paths, s *State) (kept []netdev.Change, err error) {
	if len(s.Sysctls.Changes) == 0 {
		return nil, nil
	}
	others, err := othersChanges(p)
	if err != nil {
		return nil, err
	}
	s.Sysctls.Changes = slices.DeleteFunc(s.Sysctls.Changes, func(c netdev.Change) bool {
		_, needed := others[c.Key]
		return needed
	})
	return s.Sysctls.Restore()
}

// othersChanges returns the sysctls that the other clusters of the instance
// have changed, by key.
func othersChanges(p Paths) (map[string]netdev.Change, error) {
	names, err := Clusters(p.Instance)
	if err != nil {
		return nil, err
	}
	all := make(map[string]netdev.Change)
	for _, name := range names {
		if name == p.Cluster {
			continue
		}
		s, err := loadState(Paths{p.Instance, name})
		if err != nil {
			return nil, err
		}
		if s == nil { // it has done nothing yet, or is gone
			continue
		}
		for _, c := range s.Sysctls.Changes {
			all[c.Key] = c
		}
	}
	return all, nil
}

func changes(list []netdev.Change, key string) bool {
	return slices.ContainsFunc(list, func(c netdev.Change) bool { return c.Key == key })
}
