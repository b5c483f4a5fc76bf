//go:build privileged

package e2e

import (
	"encoding/json"
	"testing"

	"github.com/shoal-net/shoal/internal/lab"
)

// A person sees what a fault does to clients.
func TestFailoverLabCommand(t *testing.T) {
	r := runLab(t, "--clients", "10", "--unplug", "2@1s-1500ms", "--for", "3s", "-o", "json")
	_, exit := r.wait(t)
	var report struct{ Gaps *lab.GapReport }
	must(t, json.Unmarshal([]byte(r.stdout.String()), &report))
	g := report.Gaps
	if g == nil || exit != 0 {
		t.Fatalf("exit status %d, gaps %+v", exit, g)
	}
	if g.Watched != 20 || g.Interrupted == 0 || g.Interrupted == g.Watched || len(g.Faults) != 1 || g.Doubles > 0 ||
		g.Min > g.Median || g.Median > g.Max || g.Max < 20 {
		t.Errorf("%+v", g)
	}
	for _, gap := range g.Gaps {
		if gap.Before == 2 && gap.After == 0 || gap.Seconds < 0.5 || gap.Seconds > 2.5 || gap.Length <= 0 || gap.Length > 2000 {
			t.Errorf("%+v", gap)
		}
	}
	r.checkNoTraces(t)
}
