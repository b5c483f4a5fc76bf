package failover

import (
	"fmt"
	"math"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/lab"
)

// victims says whom a fault strikes.
type victims uint8

const (
	oneInTurn       victims = iota // each node in turn
	leaderAndOther                 // who proposed the view that holds, and the next node
	minority                       // all but a majority, cut off from it; of two nodes, one
	everybody                      // all nodes
	nobody                         // none in particular: no node is to be given up
	oneInTurnReturn                // each node in turn; it comes back by itself, and may be given up or not
)

// A Case is a kind of fault as it is injected again and again.
type Case struct {
	Name  string
	Text  string // what happens, in words
	fault lab.Fault
	who   victims
	// length is how long a fault lasts that no node is given up for.
	length time.Duration
}

// observed is how long clients are watched under a fault that goes on.
const observed = 2 * time.Second

// Cases lists the faults that a cluster of so many nodes is to survive.
func Cases(mode cluster.Mode, nodes int) []Case {
	all := []Case{
		{Name: "kill-agent", Text: "SIGKILL to the agent", fault: lab.Fault{Kind: lab.KillAgent}},
		{Name: "kill-heartbeat", Text: "SIGKILL to the heartbeat process", fault: lab.Fault{Kind: lab.KillHeartbeat}, who: oneInTurnReturn},
		{Name: "kill-both", Text: "SIGKILL to agent and heartbeat process", fault: lab.Fault{Kind: lab.KillBoth}},
		{Name: "freeze-agent", Text: "SIGSTOP to the agent", fault: lab.Fault{Kind: lab.FreezeAgent}},
		{Name: "freeze-heartbeat", Text: "SIGSTOP to the heartbeat process", fault: lab.Fault{Kind: lab.FreezeHeartbeat}},
		{Name: "freeze-both", Text: "SIGSTOP to agent and heartbeat process", fault: lab.Fault{Kind: lab.FreezeBoth}},
		{Name: "unplug", Text: "the node's cables pulled: no carrier", fault: lab.Fault{Kind: lab.Unplug}},
		{Name: "link-down", Text: "the node's interfaces set down", fault: lab.Fault{Kind: lab.LinkDown}},
		{Name: "mute", Text: "the node receives only", fault: lab.Fault{Kind: lab.Mute}},
		{Name: "deaf", Text: "the node sends only", fault: lab.Fault{Kind: lab.Deaf}},
		{Name: "power-off", Text: "all processes of the node killed and its links gone", fault: lab.Fault{Kind: lab.PowerOff}},
	}
	if mode == cluster.Gateway {
		for _, side := range []struct {
			name, text string
			sides      lab.Sides
		}{{"client", "client side", lab.ClientSide}, {"server", "server side", lab.ServerSide}} {
			all = append(all,
				Case{Name: "unplug-" + side.name, Text: "the cable of the " + side.text + " pulled", fault: lab.Fault{Kind: lab.Unplug, Sides: side.sides}},
				Case{Name: "mute-" + side.name, Text: "on the " + side.text + " the node receives only", fault: lab.Fault{Kind: lab.Mute, Sides: side.sides}},
				Case{Name: "deaf-" + side.name, Text: "on the " + side.text + " the node sends only", fault: lab.Fault{Kind: lab.Deaf, Sides: side.sides}})
		}
	}
	all = append(all, Case{Name: "partition", Text: "a minority cut off from the other nodes, but not from clients",
		fault: lab.Fault{Kind: lab.Partition}, who: minority})
	if nodes >= 5 {
		all = append(all,
			Case{Name: "two-off", Text: "power-off of the proposer of the view and of another node at once", fault: lab.Fault{Kind: lab.PowerOff}, who: leaderAndOther},
			Case{Name: "two-frozen", Text: "SIGSTOP to all of the proposer of the view and of another node at once", fault: lab.Fault{Kind: lab.FreezeBoth}, who: leaderAndOther})
	}
	all = append(all,
		Case{Name: "restart-all", Text: "all agents killed and started again at once", fault: lab.Fault{Kind: lab.RestartAll}, who: everybody},
		Case{Name: "saturate", Text: "two busy processes on each CPU", fault: lab.Fault{Kind: lab.Saturate}, who: nobody, length: observed})
	for _, percent := range []float64{1, 5, 30} {
		all = append(all, Case{Name: fmt.Sprintf("loss-%v", percent), Text: fmt.Sprintf("%v %% of all frames lost, for each receiver by itself", percent),
			fault: lab.Fault{Kind: lab.Loss, Percent: percent}, who: nobody, length: observed})
	}
	return all
}

// returns says that the node that is struck comes back by itself.
func (c Case) returns() bool { return c.who == oneInTurnReturn }

// majority is the least number of nodes that is one.
func majority(nodes int) int { return nodes/2 + 1 }

// strike completes the fault of the case for one of its turns, and says which
// nodes are struck.
func (c Case) strike(nodes, turn, one, leader int) (lab.Fault, []int) {
	f := c.fault
	switch c.who {
	case oneInTurn, oneInTurnReturn:
		f.Nodes = []int{one}
		return f, f.Nodes
	case leaderAndOther:
		f.Nodes = []int{leader, (leader+turn%(nodes-1))%nodes + 1}
		return f, f.Nodes
	case minority:
		f.Groups = make([][]int, 2)
		for i := range nodes { // one and those after it go alone
			group := 0
			if i < max(1, nodes-majority(nodes)) {
				group = 1
			}
			f.Groups[group] = append(f.Groups[group], (one-1+i)%nodes+1)
		}
		return f, f.Groups[1]
	case everybody:
		all := make([]int, nodes)
		for i := range all {
			all[i] = i + 1
		}
		return f, all
	}
	return f, nil
}

// Excepted says that the cluster cannot keep two nodes from handling the same
// packets: where it may go on without a majority (`partition: available`), and
// the two parts of it do not hear each other at all.
func (c Case) Excepted(nodes int) bool { return c.who == minority && nodes == 2 }

// unlikely is how often, at most, chance may make the echoes of a gap be lost
// one after the other under a fault that loses frames.
const unlikely = 1e-8

// patient is how many echoes in a row chance may take from a client before it
// counts as interrupted.
func (c Case) patient() int {
	if c.fault.Kind != lab.Loss {
		return 0
	}
	lost := 1 - math.Pow(1-c.fault.Percent/100, 2) // there or back
	return int(math.Ceil(math.Log(unlikely) / math.Log(lost)))
}
