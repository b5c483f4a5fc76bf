package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shoal-net/shoal/internal/lab"
)

// faultFlags are what is to happen in a lab, and when.
type faultFlags struct {
	kill, freeze, unplug, partition []string
	drain, undrain, weight          []string
	faults                          []lab.Timed
}

func (o *faultFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&o.kill, "kill", nil, "kill the agents of `NODES@FROM[-UNTIL]`, such as 2@3s or 1,2@3s-5s")
	f.StringArrayVar(&o.freeze, "freeze", nil, "stop the agents of `NODES@FROM[-UNTIL]` in their tracks")
	f.StringArrayVar(&o.unplug, "unplug", nil, "pull the cables of `NODES@FROM[-UNTIL]`")
	f.StringArrayVar(&o.partition, "partition", nil, "let nodes of different groups not hear each other: `GROUPS@FROM[-UNTIL]`, such as 1,2/3@3s")
	f.StringArrayVar(&o.drain, "drain", nil, "drain `NODES@FROM[-UNTIL]`, as shoal drain does")
	f.StringArrayVar(&o.undrain, "undrain", nil, "end the drain of `NODES@FROM`")
	f.StringArrayVar(&o.weight, "weight", nil, "give nodes another weight: `NODES:WEIGHT@FROM[-UNTIL]`, such as 2:50@3s")
}

// check turns the words into faults, which must be possible in the lab.
func (o *faultFlags) check(options lab.Options) error {
	for _, flag := range []struct {
		name  string
		kind  lab.FaultKind
		words []string
	}{
		{"kill", lab.KillBoth, o.kill}, {"freeze", lab.FreezeBoth, o.freeze},
		{"unplug", lab.Unplug, o.unplug}, {"partition", lab.Partition, o.partition},
		{"drain", lab.Drain, o.drain}, {"undrain", lab.Undrain, o.undrain}, {"weight", lab.Weigh, o.weight},
	} {
		for _, word := range flag.words {
			timed, err := lab.ParseTimed(flag.kind, word)
			if err == nil {
				err = options.CheckFault(timed.Fault)
			}
			if err != nil {
				return usageError{fmt.Errorf("--%s: %w", flag.name, err)}
			}
			o.faults = append(o.faults, timed)
		}
	}
	return nil
}

// play lets the faults happen while the lab runs. What it returns waits for
// the end of that, and returns the report; nil where no faults are asked for.
// Faults that cannot be made end the lab.
func (o *faultFlags) play(ctx context.Context, l *lab.Lab, end func()) func() (*lab.GapReport, error) {
	if len(o.faults) == 0 {
		return func() (*lab.GapReport, error) { return nil, nil }
	}
	var report *lab.GapReport
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		if report, err = l.Play(ctx, o.faults); err != nil {
			end()
		}
	}()
	return func() (*lab.GapReport, error) {
		<-done
		return report, err
	}
}
