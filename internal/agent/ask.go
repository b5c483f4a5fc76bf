package agent

import (
	"errors"
	"fmt"

	"github.com/shoal-net/shoal/internal/control"
	"github.com/shoal-net/shoal/internal/heartbeat"
	"github.com/shoal-net/shoal/internal/member"
)

// Members asks the agent of a cluster on this host what its node knows of the
// others. It says what to do where nobody can answer, or there is nothing to
// know.
func Members(p Paths) (*heartbeat.Status, error) {
	state, err := loadState(p)
	switch {
	case err != nil:
		return nil, err
	case state == nil || state.Cluster == nil:
		return nil, fmt.Errorf("there is no cluster %s on this host", p.Cluster)
	case !state.Cluster.HasMembership():
		return nil, errors.New("its table is static, so no node can take over from another: give every node in the file `addresses:`, and none `buckets:`, and restart them all")
	}
	m, err := memberStatus(p, patience)
	switch {
	case errors.Is(err, control.ErrNoAgent):
		return nil, fmt.Errorf("the agent does not run: start it with `shoal up`, or ask on another node: %w", err)
	case err != nil:
		return nil, fmt.Errorf("the heartbeat process does not answer; a living agent starts another within a second or two, and other nodes can be asked, too: %w", err)
	}
	return m, nil
}

// Withdraw takes back what was ordered on this node last, as far as no view has
// it yet. node is which one that was about.
func Withdraw(p Paths, node int) error { return order(p, member.NoOrder, node, 0) }
