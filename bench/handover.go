package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/shoal-net/shoal/internal/agent"
	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/lab"
	"github.com/shoal-net/shoal/match"
)

const (
	handoverPause   = 60 * time.Millisecond // between a hand-over and the next, and before the first one
	handoverClients = 32                    // of which one is chosen whose bucket moves
	handoverTarget  = 1.0                   // ms without an owner for new flows
)

// handoverResult is what the SYNs of one client saw of hand-overs.
type handoverResult struct {
	gaps   sample // ms, the longest in each hand-over; 0: every SYN was answered
	waits  sample // ms that the nodes' heartbeat processes waited for a processor in each
	hit    sample // SYNs without an answer in each
	sent   int    // SYNs in all
	astray int    // of them without an answer while nothing moved
	every  time.Duration
}

// handoverLab is a cluster of two nodes. The first one is given no share and a
// whole one in turn, and with it the same buckets.
type handoverLab struct {
	*lab.Lab
	binary string
}

// measureHandover moves one client's bucket so many times from node to node.
func measureHandover(moves int) (result *handoverResult, err error) {
	dir, binary, err := buildShoal()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	h := handoverLab{binary: binary}
	ctx := context.Background()
	h.Lab, err = lab.New(ctx, lab.Options{Name: "bench", Nodes: 2, Clients: handoverClients, Families: lab.IPv4, Binary: h.binary, NoServices: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	client, err := h.mover(ctx)
	if err != nil {
		return nil, err
	}
	p, err := newProber(h.Clients, client, h.ClusterAddresses()[0])
	if err != nil {
		return nil, err
	}
	p.start()
	var windows []window
	var waits sample
	time.Sleep(handoverPause)
	for i := 0; i < moves && err == nil; i++ {
		var before time.Duration
		before, err = h.waited()
		w := window{from: dataplane.Now()}
		err = errors.Join(err, h.move(ctx, client, i%2 == 1))
		w.to = dataplane.Now()
		windows = append(windows, w)
		after, waitErr := h.waited()
		err = errors.Join(err, waitErr)
		waits = append(waits, float64(after-before)/float64(time.Millisecond))
		time.Sleep(handoverPause)
	}
	if err := errors.Join(err, p.stop()); err != nil {
		return nil, err
	}
	result = p.result(windows)
	result.waits = waits
	return result, nil
}

// waited is how long the nodes' heartbeat processes have waited for a processor.
func (h handoverLab) waited() (sum time.Duration, err error) {
	for _, n := range h.Nodes {
		pid, err := n.HeartbeatPID()
		if err != nil {
			return 0, err
		}
		_, waited, err := schedstat(pid)
		if err != nil {
			return 0, err
		}
		sum += waited
	}
	return sum, nil
}

// waitedInWorst is what the nodes waited for a processor in the hand-over with the
// longest gap, ms.
func (h *handoverResult) waitedInWorst() float64 {
	worst := 0
	for i, gap := range h.gaps {
		if gap > h.gaps[worst] {
			worst = i
		}
	}
	return h.waits[worst]
}

// mover returns a client whose bucket the first node gets with its share. It
// has it then.
func (h handoverLab) mover(ctx context.Context) (client netip.Addr, err error) {
	if err := h.weigh(ctx, false); err != nil {
		return client, err
	}
	time.Sleep(handoverPause)
	if err := h.weigh(ctx, true); err != nil {
		return client, err
	}
	time.Sleep(handoverPause)
	for _, client := range h.ClientAddresses() {
		if has, err := h.has(client); err != nil || has {
			return client, err
		}
	}
	return client, errors.New("the first node has the bucket of no client")
}

// weigh gives the first node its share, or none.
func (h handoverLab) weigh(ctx context.Context, share bool) error {
	weight := 0
	if share {
		weight = cluster.DefaultWeight
	}
	n := h.Nodes[0]
	_, err := n.NS.Run(ctx, h.binary, "weight", strconv.Itoa(n.ID), strconv.Itoa(weight), "--instance", n.Instance)
	return err
}

// has says whether the first node takes a client's new flows.
func (h handoverLab) has(client netip.Addr) (bool, error) {
	paths, err := agent.NewPaths(h.Nodes[0].Instance, "lab")
	if err != nil {
		return false, err
	}
	s, err := dataplane.Inspect(paths.Pins())
	if err != nil {
		return false, fmt.Errorf("read the table of %s: %w", h.Nodes[0].Name, err)
	}
	hash := match.Hash{Seed: seed} // the lab's is the same
	state := s.States[match.Bucket(hash.Client(client), len(s.States))]
	return state != dataplane.Foreign && state != dataplane.Draining, nil
}

// move hands the client's bucket to the first node, or from it, and lets it
// rest.
func (h handoverLab) move(ctx context.Context, client netip.Addr, toFirst bool) error {
	if err := h.weigh(ctx, toFirst); err != nil {
		return err
	}
	time.Sleep(handoverPause)
	has, err := h.has(client)
	if err == nil && has != toFirst {
		err = fmt.Errorf("the bucket of %s did not move", client)
	}
	return err
}

func (r *report) handoverTable() string {
	h := r.handover
	hits := 0.0
	for _, n := range h.hit {
		hits += n
	}
	ms := func(q float64) string { return fmt.Sprintf("%.2f", h.gaps.quantile(q)) }
	header := []string{"hand-overs", "gap p50, ms", "p99, ms", "worst, ms", "target", "", "SYNs that hit a gap", "of", "lost while nothing moved", "a SYN every", "waited for a processor, median, ms", "in the worst, ms"}
	return table(header, [][]string{{
		fmt.Sprint(len(h.gaps)), ms(0.5), ms(0.99), ms(1), fmt.Sprintf("≤ %.0f", handoverTarget), verdict(h.gaps.quantile(1) <= handoverTarget),
		fmt.Sprintf("%.0f", hits), fmt.Sprint(h.sent), fmt.Sprint(h.astray), fmt.Sprintf("%d µs", h.every.Microseconds()),
		fmt.Sprintf("%.2f", h.waits.median()), fmt.Sprintf("%.2f", h.waitedInWorst()),
	}})
}
