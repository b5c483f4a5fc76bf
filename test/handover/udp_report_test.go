package handover

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// Each thing that must not be is told, and nothing else.
func TestCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		set        func(r *UDPResult)
		keep, move string // what is to be told; empty: nothing
	}{
		"all is well":                    {func(*UDPResult) {}, "", ""},
		"no answers":                     {func(r *UDPResult) { r.Queries.Answered = 0 }, "queries: no datagram", "queries: no datagram"},
		"twice":                          {func(r *UDPResult) { r.Kept.Twice = 1 }, "flows: 1 datagrams were handled", "flows: 1 datagrams were handled"},
		"unseen":                         {func(r *UDPResult) { r.Kept.Unseen = 1 }, "no node is known", "no node is known"},
		"moved":                          {func(r *UDPResult) { r.Kept.Moves = 1 }, "another node 1 times", ""},
		"strayed":                        {func(r *UDPResult) { r.Kept.Moves, r.Kept.Stray = 1, 1 }, "another node 1 times", "without a change"},
		"lost":                           {func(r *UDPResult) { r.Queries.Else = 1 }, "nothing changed", "nothing changed"},
		"stalled":                        {func(r *UDPResult) { r.Queries.Stalled, r.Kept.Stalled = 1000, 1000 }, "", ""},
		"a flow lost by a change":        {func(r *UDPResult) { r.Kept.Changing = 1 }, "flows: a change cost", ""},
		"a flow lost after a change":     {func(r *UDPResult) { r.Kept.Holding = 1 }, "the last change was over", "the last change was over"},
		"a query lost after a change":    {func(r *UDPResult) { r.Queries.Holding = 1 }, "", "the last change was over"},
		"queries lost in a long gap":     {func(r *UDPResult) { r.Queries.Changing = 6 }, "", "queries: a change cost each 6ms"},
		"queries lost in a longer gap":   {func(r *UDPResult) { r.Queries.Changing = 301 }, "queries: a change cost each 301ms", "queries: a change cost"},
		"queries lost in an allowed gap": {func(r *UDPResult) { r.Queries.Changing = 5 }, "", ""},
		"a socket's error":               {func(r *UDPResult) { r.faults = []error{errors.New("refused")} }, "refused", "refused"},
	} {
		for _, limits := range []UDPLimits{KeepLimits, MoveLimits} {
			r := &UDPResult{Took: 100 * time.Second, Changes: [kinds]int{Drain: 4, Weigh: 6},
				Kept: DatagramCounts{Sent: 10000, Answered: 10000}, Queries: DatagramCounts{Sent: 10000, Answered: 9000}}
			tt.set(r)
			want := tt.move
			if limits.Keeps {
				want = tt.keep
			}
			switch err := r.Check(limits); {
			case want == "" && err != nil:
				t.Errorf("%s, %+v: %v", name, limits, err)
			case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
				t.Errorf("%s, %+v: %v, which does not tell %q", name, limits, err, want)
			}
		}
	}
}
