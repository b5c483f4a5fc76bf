package heartbeat

import (
	"fmt"
	"slices"
	"time"

	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/member"
	"github.com/shoal-net/shoal/internal/transport"
	"github.com/shoal-net/shoal/internal/wire"
)

// mind does once a second what nothing tells of.
func (p *process) mind(now time.Duration) {
	p.m.Late(p.late.lastMinute(now))
	p.watchAgent(now)
	p.tellAcquired(true)
	p.openPaths()
	p.tellStore()
	ms := p.m.Status(now)
	for _, line := range p.hearing.changes(now, p.hears(&ms).warnings()) {
		p.warn("%s", line)
	}
}

// watchAgent keeps the node out of views while its agent shows no life.
func (p *process) watchAgent(now time.Duration) {
	silent := now - p.lastAlive
	switch {
	case !p.agentStuck && silent > patienceWithAgent(p.cluster.Lease):
		p.agentStuck = true
		p.m.Withdraw(now, fmt.Sprintf("its agent has shown no life for %s", silent.Round(time.Millisecond)))
		p.perform()
	case p.agentStuck && silent < patienceWithAgent(p.cluster.Lease):
		p.agentStuck = false
		p.m.Resume(now)
		p.perform()
		p.log("the agent lives again")
	}
}

// openPaths opens what is not open, or open on an interface that is gone.
func (p *process) openPaths() {
	changed := false
	for i := range p.paths {
		path := &p.paths[i]
		before := path.index
		err := path.open(p.cluster, p.links.Index(i))
		changed = changed || path.index != before
		switch {
		case err == nil:
			path.failed = ""
		case err.Error() != path.failed:
			path.failed = err.Error()
			p.warn("no heartbeats on %s: %v", path.name, err)
		}
	}
	if changed {
		p.watchFDs()
	}
}

// reopenLinks starts anew where the kernel's events were lost for good.
func (p *process) reopenLinks(why error) {
	p.warn("%v", why)
	_, names := makePaths(p.cluster)
	links, err := transport.OpenLinks(names)
	if err != nil {
		return // the old one fails again, and is tried again
	}
	p.links.Close()
	p.links = links
	p.watchFDs()
}

func (p *process) tellStore() {
	failed := ""
	if text := p.store.failed.Load(); text != nil {
		failed = *text
	}
	if failed != p.storeError {
		if p.storeError = failed; failed != "" {
			p.warn("%s: until it can, this node agrees to no change of the view", failed)
		}
	}
}

// slowDisk is a write of what must survive a restart that took long. The view
// in which the others take over from a node is one that a majority has written.
type slowDisk struct{ took, at time.Duration }

// diskMemory is for how long a slow write is shown.
const diskMemory = time.Hour

func (d slowDisk) String() string {
	return fmt.Sprintf("what must survive a restart took %s to be on disk: the failover of another node waits for that, and needs a disk that is faster or less busy",
		d.took.Round(time.Millisecond))
}

// mindDisk tells of a write that is long beside the lease, which is what clients
// wait for otherwise.
func (p *process) mindDisk(now, took time.Duration) {
	if took <= p.cluster.Lease/2 {
		return
	}
	p.disk = slowDisk{took, now}
	p.warn("%s", p.disk)
}

// reload takes over another description; it returns why not.
func (p *process) reload(s *Setup) string {
	if s.Cluster == nil {
		return "no description"
	}
	p.codec = wire.New(s.Cluster.Name, s.Keys)
	before, _ := p.cluster.Node(p.cluster.Self)
	p.setup, p.cluster = *s, s.Cluster
	if after, _ := p.cluster.Node(p.cluster.Self); !slices.Equal(before.Addresses, after.Addresses) {
		for i := range p.paths { // they send from one of the addresses
			p.paths[i].close()
		}
		p.openPaths()
	}
	p.m.Reload(dataplane.Now(), MemberConfig(p.cluster))
	p.perform()
	return ""
}

// refuse counts a message that is not taken, and tells of it now and then.
func (p *process) refuse(why refusal, from int, path string) {
	now := dataplane.Now()
	if !p.refused.add(now, why) {
		return
	}
	var details []any
	if why == otherSettings {
		details = append(details, p.differences(member.NodeID(from)))
	}
	p.warn("%s", p.refused.line(now, why, append([]any{p.sender(from, path)}, details...)...))
}
