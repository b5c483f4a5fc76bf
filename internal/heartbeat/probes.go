package heartbeat

import (
	"slices"

	"github.com/shoal-net/shoal/internal/transport"
)

// maxTargets is how many hosts outside the cluster are asked at once.
const maxTargets = 8

// probes asks hosts outside the cluster whether anything there answers.
type probes struct {
	targets []Target
	open    []*transport.Prober
}

// aim takes new targets. Those that cannot be asked now are tried again when
// they are given again.
func (p *probes) aim(targets []Target) (problems []error) {
	targets = targets[:min(len(targets), maxTargets)]
	if slices.Equal(targets, p.targets) && len(p.open) == len(targets) {
		return nil
	}
	p.close()
	p.targets = targets
	for _, t := range targets {
		var prober *transport.Prober
		var err error
		if t.Interface == "" {
			prober, err = transport.OpenEchoProber(t.Address)
		} else {
			prober, err = transport.OpenNeighbourProber(t.Interface, t.Address)
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		p.open = append(p.open, prober)
	}
	return problems
}

func (p *probes) ask() {
	for _, o := range p.open {
		_ = o.Probe() // no answer comes, then
	}
}

// answered empties all sockets.
func (p *probes) answered() (any bool) {
	for _, o := range p.open {
		any = o.Answered() || any
	}
	return any
}

func (p *probes) close() {
	for _, o := range p.open {
		o.Close()
	}
	p.open, p.targets = nil, nil
}
