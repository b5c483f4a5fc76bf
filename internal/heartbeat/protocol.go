package heartbeat

import (
	"net/netip"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/member"
)

// Setup is all that the process needs to know. It is as the agent has
// validated it.
type Setup struct {
	Cluster *cluster.Cluster `json:"cluster"`
	Keys    []string         `json:"keys"`  // Cluster.Membership.Keys, which Cluster's form leaves out
	Pins    string           `json:"pins"`  // of the data plane
	State   string           `json:"state"` // directory of what must survive a restart
	// TakeOver: go on in the place of the process behind predecessorFD.
	TakeOver bool `json:"take_over"`
}

// NewSetup describes a cluster to the process.
func NewSetup(c *cluster.Cluster, pins, state string) Setup {
	return Setup{Cluster: c, Keys: c.Membership.Keys, Pins: pins, State: state}
}

// Target is a host outside the cluster that may answer a probe.
type Target struct {
	Interface string     `json:"interface"` // on whose link it is; empty: wherever the routing table says
	Address   netip.Addr `json:"address"`
	Link      string     `json:"link"` // its index and MAC: another one is asked over another socket
}

// alive is what the agent sends to show that it lives. It is no JSON, so that
// taking it makes no garbage.
const alive = "alive"

// drained is of which buckets this node has no flows left, or gives them up.
type drained struct {
	Epoch uint64 `json:"epoch"` // of the table in force before the flows were counted
	Bits  []byte `json:"bits"`  // bucket b is bit b%8 of byte b/8: 8 KiB at most
}

// command is any other message of the agent. One field is set.
type command struct {
	Setup    *Setup    `json:"setup,omitempty"` // the first message
	Reload   *Setup    `json:"reload,omitempty"`
	Targets  *[]Target `json:"targets,omitempty"`
	Leave    bool      `json:"leave,omitempty"`
	Status   bool      `json:"status,omitempty"`
	HandOver bool      `json:"hand_over,omitempty"` // to the process behind the socket that comes with it

	Swept   uint64        `json:"swept,omitempty"` // the number of the Sweep that is done
	Drained *drained      `json:"drained,omitempty"`
	Frozen  *frozen       `json:"frozen,omitempty"`
	Health  *uint16       `json:"health,omitempty"` // the largest weight that it allows, 0..member.MaxWeight
	Order   *member.Order `json:"order,omitempty"`
}

// Event is what the process tells the agent.
type Event struct {
	Kind   EventKind `json:"kind"`
	Text   string    `json:"text,omitempty"`   // of Log, Warning, Failed
	Status *Status   `json:"status,omitempty"` // of Answer
	Sweep  uint64    `json:"sweep,omitempty"`  // of Sweep: its number

	Acquired *Acquired `json:"acquired,omitempty"` // of acquires
}

// EventKind is what happened.
type EventKind string

// The events.
const (
	Waiting    EventKind = "waiting"     // it is set up, and can take over at once
	Ready      EventKind = "ready"       // it takes part
	Serving    EventKind = "serving"     // it holds a lease, for the first time or again
	Sweep      EventKind = "sweep"       // all flows of the cluster are to be destroyed here, then Process.Swept is to be called; asked again every second
	Log        EventKind = "log"         // Text is for the log
	Warning    EventKind = "warning"     // likewise
	Answer     EventKind = "answer"      // to Process.Status
	Reloaded   EventKind = "reloaded"    // Text says why not, if it is not empty
	Left       EventKind = "left"        // it is out of the cluster, as asked, and ends
	HandedOver EventKind = "handed over" // another process goes on in its place, and it ends
	Kept       EventKind = "kept"        // it was not handed over: Text says why
	Failed     EventKind = "failed"      // it ends; Text says why
)

// acquires is the kind of an event that goes by Process.Acquired.
const acquires EventKind = "acquires"

// patienceWithAgent is how long the agent may show no life.
func patienceWithAgent(lease time.Duration) time.Duration { return max(time.Second, 10*lease) }
