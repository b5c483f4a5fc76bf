package cluster

import (
	"fmt"
	"slices"
	"strings"
)

// CheckReload reports why a node that runs cannot go over to another
// description: only nodes, keys, witness, partition and health checks may change.
func (c *Cluster) CheckReload(next *Cluster) error {
	var keys []string
	before, names := c.Settings()
	after, _ := next.Settings()
	for i := range names {
		if before[i] != after[i] {
			keys = append(keys, names[i])
		}
	}
	for key, same := range map[string]bool{
		"cluster":                       c.Name == next.Name,
		"node":                          c.Self == next.Self,
		"interfaces":                    slices.EqualFunc(c.Interfaces, next.Interfaces, sameInterface),
		"heartbeat-interfaces":          slices.Equal(c.Membership.Interfaces, next.Membership.Interfaces),
		"action":                        c.Action == next.Action,
		"nodes (addresses and buckets)": next.HasMembership(),
	} {
		if !same {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	slices.Sort(keys)
	return fmt.Errorf("%s: cannot change while the node runs; restart it, one node after the other where all must be the same", strings.Join(slices.Compact(keys), ", "))
}

func sameInterface(a, b Interface) bool {
	return a.Name == b.Name && a.Side == b.Side && a.L2 == b.L2 && a.MAC == b.MAC && a.Attach == b.Attach &&
		slices.Equal(a.Addresses, b.Addresses)
}
