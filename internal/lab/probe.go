package lab

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// maxRate is how many requests a second probes make unless they are told how
// often: what two cores do beside other work.
const maxRate = 2000

// ProbeOptions says how clients ask. The zero value is every kind of request
// once a second from each client address, less often if there are so many that
// this were more than 2,000 requests a second.
type ProbeOptions struct {
	Kinds    []Kind        // in the order of a round; all kinds if empty
	Rounds   int           // how many each client address does; 0: until the context ends
	Interval time.Duration // between starts of a client's rounds
	Timeout  time.Duration // for the first answer; 1 s if zero
	Linger   time.Duration // for a second answer; 50 ms if zero
}

func (o ProbeOptions) withDefaults(clients int) ProbeOptions {
	if len(o.Kinds) == 0 {
		o.Kinds = []Kind{TCP, UDP, Ping, HTTP}
	}
	setDefault(&o.Interval, max(time.Second, time.Second*time.Duration(clients*len(o.Kinds))/maxRate))
	setDefault(&o.Timeout, time.Second)
	setDefault(&o.Linger, 50*time.Millisecond)
	return o
}

// Probe sends requests from the lab's clients and counts who answers.
type Probe struct {
	lab     *Lab
	opts    ProbeOptions
	capture *capture
	pinger  *pinger
	tally   *tally
}

// NewProbe opens a probe, which can be run once.
func (l *Lab) NewProbe(o ProbeOptions) (*Probe, error) {
	p := &Probe{lab: l, opts: o.withDefaults(len(l.plan.clients())), tally: newTally(l.plan)}
	var err error
	if p.capture, err = l.newCapture(); err != nil {
		return nil, err
	}
	if p.pinger, err = newPinger(l.Clients, l.plan.Families, l.seen); err != nil {
		p.capture.close()
		return nil, err
	}
	return p, nil
}

// Probe runs a probe to its end, or until ctx ends, and returns its report.
func (l *Lab) Probe(ctx context.Context, o ProbeOptions) (Report, error) {
	p, err := l.NewProbe(o)
	if err != nil {
		return Report{}, err
	}
	p.Run(ctx)
	return p.Report(), nil
}

// Run lets all clients do their rounds, until these are done or ctx ends.
// Requests on their way then are waited for, so that each is counted once.
func (p *Probe) Run(ctx context.Context) {
	defer p.pinger.close()
	defer p.capture.close()
	go p.capture.run()
	p.pinger.run()
	p.tally.start()
	targets := p.lab.Targets()
	clients := p.lab.ClientAddresses()
	var wg sync.WaitGroup
	for i, client := range clients {
		target := targets[0]
		if target.Is4() != client.Is4() {
			target = targets[1]
		}
		// Clients start one after the other, so that the load is even.
		phase := p.opts.Interval * time.Duration(i) / time.Duration(len(clients))
		wg.Go(func() { p.rounds(ctx, client, target, phase) })
	}
	wg.Wait()
	p.tally.stop()
}

func (p *Probe) rounds(ctx context.Context, client, target netip.Addr, phase time.Duration) {
	next := time.NewTimer(phase)
	defer next.Stop()
	for round := 0; p.opts.Rounds == 0 || round < p.opts.Rounds; round++ {
		select {
		case <-next.C:
			next.Reset(p.opts.Interval)
		case <-ctx.Done():
			return
		}
		for _, kind := range p.opts.Kinds {
			if ctx.Err() != nil {
				return
			}
			r := p.lab.seen.begin(kind, client, target)
			err := p.exchange(r)
			p.lab.seen.end(r)
			p.tally.add(r, err)
		}
	}
}

// Report is what was counted until now.
func (p *Probe) Report() Report { return p.tally.report() }
