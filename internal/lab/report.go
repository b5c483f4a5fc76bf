package lab

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Report says who answered whom. Times are in microseconds.
type Report struct {
	Mode    string  `json:"mode"`
	Seconds float64 `json:"seconds"`
	Counts
	Evenness Evenness             `json:"evenness"`
	Nodes    []NodeReport         `json:"nodes"`
	Kinds    map[Kind]*KindReport `json:"kinds"`
	Clients  []ClientReport       `json:"clients"`
	Faults   []string             `json:"faults"` // the first few, in words
}

// Counts are numbers of requests. None, Twice and Overlaps are faults.
type Counts struct {
	Requests int64 `json:"requests"`
	Once     int64 `json:"once"`     // answered once, and handled by at most one node
	None     int64 `json:"none"`     // not answered in time
	Twice    int64 `json:"twice"`    // answered more than once
	Overlaps int64 `json:"overlaps"` // handled by two nodes or more, whatever the number of answers
	Unknown  int64 `json:"unknown"`  // answered, but no node was seen to handle it
}

// OK says that every request had exactly one answer from exactly one node.
func (c Counts) OK() bool { return c.Requests > 0 && c.Once == c.Requests }

// NodeReport is the share of one node.
type NodeReport struct {
	Name     string         `json:"name"`
	Clients  int            `json:"clients"` // client addresses it handled requests of
	Requests int64          `json:"requests"`
	Share    float64        `json:"share"` // of all handled requests, 0..1
	Kinds    map[Kind]int64 `json:"kinds"`
	Times
}

// KindReport is about one kind of request.
type KindReport struct {
	Counts
	Times
}

// Times are round trips to the first answer; connecting is part of them.
type Times struct {
	P50 float64 `json:"p50_us"`
	P99 float64 `json:"p99_us"`
}

// ClientReport says which nodes handled a client address's requests.
type ClientReport struct {
	Address netip.Addr `json:"address"`
	Nodes   []int      `json:"nodes"` // ids
	Counts
}

// Evenness compares the nodes' shares of the handled requests.
type Evenness struct {
	Even float64 `json:"even"` // the share of each node were they the same
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
}

// evenness computes shares, and how they spread, from requests by node.
func evenness(requests []int64) (shares []float64, e Evenness) {
	var sum int64
	for _, n := range requests {
		sum += n
	}
	shares = make([]float64, len(requests))
	if len(requests) == 0 {
		return shares, e
	}
	e.Even, e.Min = 1/float64(len(requests)), 1
	for i, n := range requests {
		if sum > 0 {
			shares[i] = float64(n) / float64(sum)
		}
		e.Min, e.Max = min(e.Min, shares[i]), max(e.Max, shares[i])
	}
	return shares, e
}

// maxFaults bounds the faults that are told in words.
const maxFaults = 20

// A tally adds up requests.
type tally struct {
	mu      sync.Mutex
	mode    string
	began   time.Time
	took    time.Duration // 0 while it runs
	total   Counts
	nodes   []nodeTally
	kinds   [kinds]kindTally
	clients map[netip.Addr]*ClientReport
	order   []netip.Addr
	faults  []string
}

type nodeTally struct {
	clients map[netip.Addr]bool
	kinds   [kinds]int64
	times   histogram
}

type kindTally struct {
	Counts
	times histogram
}

func newTally(p plan) *tally {
	t := &tally{mode: p.Mode.String(), nodes: make([]nodeTally, p.Nodes), clients: map[netip.Addr]*ClientReport{},
		order: p.clients()}
	for i := range t.nodes {
		t.nodes[i].clients = map[netip.Addr]bool{}
	}
	for _, a := range t.order {
		t.clients[a] = &ClientReport{Address: a, Nodes: []int{}}
	}
	return t
}

func (t *tally) start() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.began = time.Now()
}

func (t *tally) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.took = time.Since(t.began)
}

// add counts a request that is over; err says why it had no answer.
func (t *tally) add(r *request, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	client := t.clients[r.key.client]
	for _, c := range []*Counts{&t.total, &t.kinds[r.kind].Counts, &client.Counts} {
		c.add(r)
	}
	if r.answers != 1 || r.handlers() > 1 {
		t.fault(r, err)
	}
	if r.answers > 0 {
		t.kinds[r.kind].times.add(r.rtt)
	}
	for i := range t.nodes {
		if r.nodes&(1<<i) == 0 {
			continue
		}
		n := &t.nodes[i]
		n.kinds[r.kind]++
		if r.answers > 0 {
			n.times.add(r.rtt)
		}
		if !n.clients[r.key.client] {
			n.clients[r.key.client] = true
			client.Nodes = append(client.Nodes, i+1)
		}
	}
}

func (c *Counts) add(r *request) {
	c.Requests++
	if r.answers == 0 {
		c.None++
	}
	if r.answers > 1 {
		c.Twice++
	}
	if r.handlers() > 1 {
		c.Overlaps++
	}
	if r.answers == 1 && r.handlers() <= 1 {
		c.Once++
	}
	if r.answers > 0 && r.handlers() == 0 {
		c.Unknown++
	}
}

// fault tells one fault in words.
func (t *tally) fault(r *request, err error) {
	if len(t.faults) == maxFaults {
		return
	}
	var by []string
	for i := range t.nodes {
		if r.nodes&(1<<i) != 0 {
			by = append(by, nodeName(i+1))
		}
	}
	text := fmt.Sprintf("%s %s → %s: %d answers", r.kind, r.local(), r.target, r.answers)
	if len(by) > 0 {
		text += ", handled by " + strings.Join(by, " and ")
	}
	if err != nil {
		text += ": " + err.Error()
	}
	t.faults = append(t.faults, text)
}

func (t *tally) report() Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	took := t.took
	if took == 0 && !t.began.IsZero() {
		took = time.Since(t.began)
	}
	r := Report{Mode: t.mode, Seconds: took.Seconds(), Counts: t.total, Kinds: map[Kind]*KindReport{},
		Faults: append([]string{}, t.faults...)}
	for k := range kinds {
		if kt := &t.kinds[k]; kt.Requests > 0 {
			r.Kinds[k] = &KindReport{kt.Counts, kt.times.summary()}
		}
	}
	requests := make([]int64, len(t.nodes))
	for i := range t.nodes {
		n := &t.nodes[i]
		nr := NodeReport{Name: nodeName(i + 1), Clients: len(n.clients), Kinds: map[Kind]int64{}, Times: n.times.summary()}
		for k, count := range n.kinds {
			nr.Kinds[Kind(k)] = count
			nr.Requests += count
		}
		requests[i] = nr.Requests
		r.Nodes = append(r.Nodes, nr)
	}
	shares, even := evenness(requests)
	for i := range r.Nodes {
		r.Nodes[i].Share = shares[i]
	}
	r.Evenness = even
	for _, a := range t.order {
		c := *t.clients[a]
		c.Nodes = append([]int{}, c.Nodes...)
		r.Clients = append(r.Clients, c)
	}
	return r
}
