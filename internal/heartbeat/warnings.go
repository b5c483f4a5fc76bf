package heartbeat

import (
	"fmt"
	"time"

	"github.com/shoal-net/shoal/internal/member"
)

// hears says who hears whom, for warnings.
func (p *process) hears(ms *member.Status) *heard {
	h := &heard{up: p.up, clusterOf: uint8(1<<len(p.cluster.Interfaces) - 1)}
	for i := range p.paths {
		h.interfaces = append(h.interfaces, p.paths[i].name)
	}
	recent := max(time.Second, 3*p.cluster.Lease)
	for _, peer := range ms.Peers {
		node, listed := p.cluster.Node(int(peer.ID))
		if !listed {
			continue
		}
		one := heardPeer{name: node.Name, both: peer.TwoWay, links: peer.Carrier}
		for i := range p.paths {
			if at := peer.Heard[i]; at >= 0 && at < recent {
				one.on |= 1 << i
			}
		}
		if len(peer.Differs) > 0 {
			one.both = one.on // what it says is not looked at
		}
		h.peers = append(h.peers, one)
	}
	return h
}

// warnings says, in words, what an operator should look at.
func (p *process) warnings(ms *member.Status, now time.Duration) []string {
	lines := []string{}
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	lines = append(lines, p.hearing.lasting()...)
	for _, peer := range ms.Peers {
		p.warnOf(&peer, add)
	}
	for why, words := range refusalWords {
		why := refusal(why)
		if words != "" && why != otherSettings && why != ownID && p.refused.recent(now, why) {
			add("%s", p.refused.last[why].text)
		}
	}
	p.warnOfView(ms, add)
	if len(p.setup.Keys) == 0 {
		add("no `key`: whoever can send to the cluster's links can take it down")
	}
	for i := range p.paths {
		if path := &p.paths[i]; path.failed != "" {
			add("no heartbeats on %s: %s", path.name, path.failed)
		}
	}
	if p.storeError != "" {
		add("%s: until it can, this node agrees to no change of the view", p.storeError)
	}
	if p.disk.took > 0 && now-p.disk.at < diskMemory {
		add("%s", p.disk)
	}
	lines = append(lines, p.lacking...)
	if worst := p.late.lastMinute(now); worst > p.cluster.Lease/2 {
		add("heartbeats were up to %s late within the last minute: the host is overloaded, or a longer `lease` fits it", worst.Round(time.Millisecond))
	}
	return lines
}

func (p *process) warnOf(peer *member.PeerStatus, add func(string, ...any)) {
	node, listed := p.cluster.Node(int(peer.ID))
	if !listed {
		return
	}
	if peer.Duplicate {
		add("two hosts use the id %d of %s: give one of them another", node.ID, node.Name)
	}
	if len(peer.Differs) > 0 {
		add("%s has other settings, and is not listened to: %s", node.Name, p.differences(peer.ID))
	}
	if self := member.NodeID(p.cluster.Self); peer.Present && !peer.Listed.Has(self) {
		add("%s does not list this node: reload it when all files are the same", node.Name)
	}
}

// warnOfView says why this node handles nothing.
func (p *process) warnOfView(ms *member.Status, add func(string, ...any)) {
	if ms.OwnID {
		add("another host uses the id of this node: two hosts with one id, or one file with the wrong `node`")
	}
	if ms.Held != "" {
		add("this node stays out of the cluster: %s", ms.Held)
	}
	if ms.View != nil && ms.View.Alone {
		add("the nodes of this view went on without a majority (partition: available)")
	}
	if ms.LeaseLeft > 0 {
		return
	}
	present, voters := 1, len(p.cluster.Nodes)
	for _, peer := range ms.Peers {
		if peer.Present {
			present++
		}
	}
	if ms.View != nil {
		voters = ms.View.Voters.Len()
	}
	if 2*present <= voters {
		add("no majority: of %d voters this node hears %d, itself among them, and handles nothing", voters, present)
	}
	if ms.Amnesiac {
		add("this node has no memory of earlier views, and waits for the others to tell it of the present one")
	}
}
