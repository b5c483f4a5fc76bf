package heartbeat

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// heard is who hears whom by which interface. Bit n of a mask is the n-th
// interface.
type heard struct {
	interfaces []string
	clusterOf  uint8 // interfaces that carry clients' packets
	up         uint8 // interfaces with carrier
	peers      []heardPeer
}

// heardPeer is another node of the file.
type heardPeer struct {
	name  string
	on    uint8 // heard there of late
	both  uint8 // and hears this node there, too
	links uint8 // has carrier there, as it says itself
}

// Likely causes, by what does not get through. docs/operations.md, "The
// segment", says what to do.
const (
	causesSegment = "a switch or bridge that snoops multicast and does not deliver frames to the cluster MAC to every port, " +
		"a port that blocks unknown unicast, another VLAN, or another `l2` or `mac` than on the other nodes"
	causesDedicated = "another cable or VLAN than on the other nodes, or their file does not list the interface"
)

// warnings says, in words, what does not get through and why that may be.
func (h *heard) warnings() (lines []string) {
	anywhere := uint8(0)
	for _, p := range h.peers {
		anywhere |= p.on
	}
	for i, name := range h.interfaces {
		if h.up>>i&1 == 0 {
			lines = append(lines, name+" has no link")
		}
	}
	if len(h.peers) == 0 || h.up == 0 {
		return lines
	}
	if anywhere == 0 {
		return append(lines, fmt.Sprintf("no other node is heard, though %s has a link: the others are down, have another `key`, or the segment does not deliver: %s",
			h.names(h.up), causesSegment))
	}
	for i, name := range h.interfaces {
		if bit := uint8(1) << i; h.up&bit != 0 {
			lines = append(lines, h.missing(name, bit, anywhere)...)
		}
	}
	return lines
}

// missing says what does not get through on an interface.
func (h *heard) missing(name string, bit, anywhere uint8) (lines []string) {
	var deaf, mute []string // whom this node does not hear there; who does not hear this node
	heardThere := 0
	for _, p := range h.peers {
		switch {
		case p.on&bit != 0:
			heardThere++
			if p.both&bit == 0 {
				mute = append(mute, p.name)
			}
		case p.on != 0 && p.links&bit != 0:
			deaf = append(deaf, p.name)
		}
	}
	causes := causesSegment
	if h.clusterOf&bit == 0 {
		causes = causesDedicated
	}
	switch {
	case len(deaf) > 0 && heardThere == 0:
		lines = append(lines, fmt.Sprintf("no other node is heard on %s, but on %s: %s", name, h.names(anywhere), causes))
	case len(deaf) > 0:
		lines = append(lines, fmt.Sprintf("%s not heard on %s, where others are: its port, or %s", isAre(deaf), name, causes))
	}
	if len(mute) > 0 {
		lines = append(lines, fmt.Sprintf("%s heard on %s, and cannot hear this node there: %s", isAre(mute), name, causes))
	}
	return lines
}

func isAre(names []string) string {
	if len(names) == 1 {
		return names[0] + " is"
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1] + " are"
}

func (h *heard) names(mask uint8) string {
	var names []string
	for i, name := range h.interfaces {
		if mask>>i&1 == 1 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " and ")
}

// settle is how long a fault must last to be told: nodes start and end one
// after the other.
const settle = 2 * time.Second

// hearing remembers since when what warnings say is so.
type hearing struct {
	lines []hearingLine
}

type hearingLine struct {
	text  string
	since time.Duration
	told  bool
}

// changes takes the warnings of now and returns what to log: those that have
// lasted, and once more those told of that are over.
func (h *hearing) changes(now time.Duration, lines []string) (log []string) {
	for i := range h.lines {
		if l := &h.lines[i]; l.told && !slices.Contains(lines, l.text) {
			log = append(log, "over: "+l.text)
		}
	}
	var next []hearingLine
	for _, text := range lines {
		l := hearingLine{text: text, since: now}
		if i := slices.IndexFunc(h.lines, func(l hearingLine) bool { return l.text == text }); i >= 0 {
			l = h.lines[i]
		}
		if !l.told && now-l.since >= settle {
			l.told = true
			log = append(log, l.text)
		}
		next = append(next, l)
	}
	h.lines = next
	return log
}

// lasting returns the warnings that have been told.
func (h *hearing) lasting() (lines []string) {
	for _, l := range h.lines {
		if l.told {
			lines = append(lines, l.text)
		}
	}
	return lines
}
