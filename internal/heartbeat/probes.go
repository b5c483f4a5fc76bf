package heartbeat

import (
	"errors"
	"slices"

	"github.com/shoal-net/shoal/internal/transport"
)

// maxTargets is how many hosts outside the cluster are asked at once.
const maxTargets = 8

// probes asks hosts outside the cluster whether anything there answers.
type probes struct {
	targets []Target
	open    []*transport.Prober // by target; nil: it cannot be asked now
	failed  string              // why not, as last told
}

// aim takes new targets. Those that cannot be asked now are tried again when
// they are given again; why not is told once.
func (p *probes) aim(targets []Target) (problem error) {
	targets = targets[:min(len(targets), maxTargets)]
	if !slices.Equal(targets, p.targets) {
		p.close()
		p.targets, p.open = targets, make([]*transport.Prober, len(targets))
	}
	var errs []error
	for i, t := range targets {
		if p.open[i] != nil {
			continue
		}
		var err error
		if t.Interface == "" {
			p.open[i], err = transport.OpenEchoProber(t.Address)
		} else {
			p.open[i], err = transport.OpenNeighbourProber(t.Interface, t.Address)
		}
		errs = append(errs, err)
	}
	text := ""
	if problem = errors.Join(errs...); problem != nil {
		text = problem.Error()
	}
	if text == p.failed {
		return nil
	}
	p.failed = text
	return problem
}

func (p *probes) each(do func(*transport.Prober)) {
	for _, o := range p.open {
		if o != nil {
			do(o)
		}
	}
}

func (p *probes) ask() {
	p.each(func(o *transport.Prober) { _ = o.Probe() }) // no answer comes, then
}

// answered empties all sockets.
func (p *probes) answered() (any bool) {
	p.each(func(o *transport.Prober) { any = o.Answered() || any })
	return any
}

func (p *probes) close() {
	p.each(func(o *transport.Prober) { o.Close() })
	p.open, p.targets = nil, nil
}
