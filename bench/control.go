package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/shoal-net/shoal/internal/agent"
	"github.com/shoal-net/shoal/internal/lab"
	"github.com/vishvananda/netlink"
)

// controlCase is a cluster of one real node and simulated others.
type controlCase struct {
	nodes           int
	interval, lease time.Duration
}

// controlResult is what the node's heartbeat process took, in every round.
type controlResult struct {
	controlCase
	cpu            sample // % of one processor
	sent, received sample // frames a second, all that the interface saw
	kbits          sample // a second, received
	late           sample // ms, the worst of the round
}

const (
	controlName     = "bench-control" // of the cluster, and of the node's instance
	controlLink     = "eth1"          // of the real node
	controlPeers    = "peers"         // its other end
	controlPatience = 60 * time.Second
	controlTries    = 5 // to watch a cluster at rest: the simulated nodes may not get a processor for longer than a lease
)

var errRestless = errors.New("the view changed while the node was watched")

func controlCases() []controlCase {
	var all []controlCase
	for _, t := range []controlCase{{0, 20 * time.Millisecond, 100 * time.Millisecond}, {0, 5 * time.Millisecond, 30 * time.Millisecond}} {
		for _, nodes := range []int{2, 8, 32, 64} {
			c := controlCase{nodes, t.interval, t.lease}
			if nodes > 8 { // so many are simulated too slowly for that lease; what they send is the same
				c.lease *= 5
			}
			if nodes < 64 || t.interval > 5*time.Millisecond { // nor do they come to rest at that rate
				all = append(all, c)
			}
		}
	}
	return all
}

// address is a node's own; the cluster's is no node's.
func (c controlCase) address(id int) netip.Addr { return netip.AddrFrom4([4]byte{10, 88, 0, byte(id)}) }

// file is the configuration that all nodes share. The real node is the last one.
func (c controlCase) file() []byte {
	var b bytes.Buffer
	// Who keeps flows must count and destroy them, and the simulated nodes have none.
	fmt.Fprintf(&b, "cluster: %s\nmode: backend\nnode: %d\nheartbeat: %v\nlease: %v\ndrain: 0s\n", controlName, c.nodes, c.interval, c.lease)
	fmt.Fprintf(&b, "interfaces:\n  - name: %s\n    addresses: [%q]\nnodes:\n", controlLink, c.address(200))
	for id := 1; id <= c.nodes; id++ {
		fmt.Fprintf(&b, "  - {id: %d, name: n%d, addresses: [%q]}\n", id, id, c.address(id))
	}
	b.WriteString("hash: {seed: 0xdeadbeef}\n")
	return b.Bytes()
}

// measureControl lets each cluster come to rest and watches the real node.
func measureControl(rounds int, long time.Duration) (results []controlResult, err error) {
	dir, binary, err := buildShoal()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	for _, c := range controlCases() {
		results = append(results, controlResult{controlCase: c})
	}
	for range rounds {
		for i := range results {
			err := results[i].measure(dir, binary, long)
			for try := 1; errors.Is(err, errRestless) && try < controlTries; try++ {
				err = results[i].measure(dir, binary, long)
			}
			if err != nil {
				return nil, fmt.Errorf("%d nodes, %v/%v: %w", results[i].nodes, results[i].interval, results[i].lease, err)
			}
		}
	}
	return results, nil
}

// measure builds the cluster once.
func (r *controlResult) measure(dir, binary string, long time.Duration) (err error) {
	here, there, err := r.wire()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, here.ns.Close(), there.ns.Close()) }()
	peers, err := startPeers(there, r.controlCase)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, peers.stop()) }()
	n, err := startControlNode(here, dir, binary, r.file())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	view, err := n.settle(r.nodes)
	if err != nil {
		return err
	}
	before, err := n.read()
	if err != nil {
		return err
	}
	time.Sleep(long)
	after, err := n.read()
	if err != nil {
		return err
	}
	s, err := n.status()
	if err != nil {
		return err
	}
	if !s.Lease.Valid || s.Members == nil || s.Members.View == nil || s.Members.View.Epoch != view {
		return fmt.Errorf("%w: %+v", errRestless, s.Members)
	}
	seconds := after.at.Sub(before.at).Seconds()
	r.cpu = append(r.cpu, 100*(after.cpu-before.cpu).Seconds()/seconds)
	r.sent = append(r.sent, float64(after.sent-before.sent)/seconds)
	r.received = append(r.received, float64(after.received-before.received)/seconds)
	r.kbits = append(r.kbits, float64(after.bytes-before.bytes)*8/1e3/seconds)
	r.late = append(r.late, s.Members.Lateness.WorstMS)
	return nil
}

// wire makes the two hosts: all simulated nodes are one.
func (r *controlResult) wire() (here, there host, err error) {
	if here, err = newHost(); err != nil {
		return
	}
	if there, err = newHost(); err != nil {
		return here, there, errors.Join(err, here.ns.Close())
	}
	own := func(link string, ids ...int) func() error {
		return func() error {
			for _, id := range ids {
				if err := addAddress(link, netip.PrefixFrom(r.address(id), 24), netlink.SCOPE_UNIVERSE); err != nil {
					return err
				}
			}
			return nil
		}
	}
	var others []int
	for id := 1; id < r.nodes; id++ {
		others = append(others, id)
	}
	err = errors.Join(here.do(quiet), there.do(quiet))
	if err == nil {
		err = wire(here, controlLink, there, controlPeers)
	}
	if err == nil {
		err = errors.Join(here.do(own(controlLink, r.nodes)), there.do(own(controlPeers, others...)))
	}
	return here, there, err
}

// controlNode is the real node.
type controlNode struct {
	host  host
	cmd   *exec.Cmd
	log   bytes.Buffer
	paths agent.Paths
}

func startControlNode(h host, dir, binary string, file []byte) (*controlNode, error) {
	path := filepath.Join(dir, "node.yaml")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		return nil, err
	}
	n := &controlNode{host: h, cmd: exec.Command(binary, "up", "-c", path, "--instance", controlName)}
	n.cmd.Stdout, n.cmd.Stderr = &n.log, &n.log
	var err error
	if n.paths, err = agent.NewPaths(controlName, controlName); err != nil {
		return nil, err
	}
	if err := h.do(n.cmd.Start); err != nil {
		return nil, fmt.Errorf("start a node: %w", err)
	}
	return n, nil
}

// stop ends the node, and what it has written down for its next start.
func (n *controlNode) stop() error {
	err := n.cmd.Process.Signal(syscall.SIGTERM)
	if waitErr := n.cmd.Wait(); waitErr != nil {
		err = errors.Join(err, fmt.Errorf("the node: %w\n%s", waitErr, n.log.String()))
	}
	return errors.Join(err, os.RemoveAll(filepath.Join("/var/lib/shoal", controlName)))
}

func (n *controlNode) status() (*agent.Status, error) {
	return agent.ReadStatus(n.paths, time.Millisecond)
}

// settle waits until all nodes have acted on one view for two seconds, and says
// which.
func (n *controlNode) settle(nodes int) (view uint64, err error) {
	var since time.Time
	for deadline := time.Now().Add(controlPatience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		s, err := n.status()
		if err != nil || !s.Lease.Valid || s.Members == nil || s.Members.View == nil {
			since = time.Time{}
			continue
		}
		together := 0
		for _, other := range s.Members.Nodes {
			if other.Present && other.SameView && other.State == "serving" {
				together++
			}
		}
		if together < nodes || s.Members.View.Epoch != view {
			view, since = s.Members.View.Epoch, time.Now()
			if together < nodes {
				since = time.Time{}
			}
			continue
		}
		if !since.IsZero() && time.Since(since) > 2*time.Second {
			return view, nil
		}
	}
	return 0, fmt.Errorf("the nodes do not come to rest in %v:\n%s", controlPatience, n.log.String())
}

// controlReading is what has been used and seen up to a moment.
type controlReading struct {
	at                    time.Time
	cpu                   time.Duration
	sent, received, bytes uint64
}

func (n *controlNode) read() (r controlReading, err error) {
	pid, err := lab.HeartbeatOf(n.cmd.Process.Pid)
	if err != nil {
		return r, err
	}
	if r.cpu, _, err = schedstat(pid); err != nil {
		return r, err
	}
	r.at = time.Now()
	err = n.host.do(func() error {
		link, err := netlink.LinkByName(controlLink)
		if err != nil {
			return fmt.Errorf("find %s: %w", controlLink, err)
		}
		s := link.Attrs().Statistics
		r.sent, r.received, r.bytes = s.TxPackets, s.RxPackets, s.RxBytes
		return nil
	})
	return r, err
}

func (r *report) controlTable() string {
	var rows [][]string
	for _, c := range r.controls {
		rows = append(rows, []string{
			fmt.Sprint(c.nodes), fmt.Sprintf("%d/%d ms", c.interval.Milliseconds(), c.lease.Milliseconds()),
			fmt.Sprintf("%.2f (%.2f–%.2f)", c.cpu.median(), c.cpu.quantile(0.25), c.cpu.quantile(0.75)),
			fmt.Sprintf("%.0f", c.sent.median()), fmt.Sprintf("%.0f", c.received.median()), fmt.Sprintf("%.0f", c.kbits.median()),
			fmt.Sprintf("%.1f", c.cpu.median()*1e4/c.received.median()),
		})
	}
	return table([]string{"nodes", "heartbeat/lease", "% of a processor (middle half)", "frames sent a second", "received a second", "kbit/s received", "µs for each received"}, rows)
}
