package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/test/failover"
)

func TestRecordGoesOn(t *testing.T) {
	dir := t.TempDir()
	c := campaign{mode: cluster.Gateway, nodes: 3, timing: "fast"}
	first := failover.Outcome{Case: "unplug", Struck: []int{2}, Settled: true, Healed: true, Took: time.Second,
		Gaps: []time.Duration{0, 101500 * time.Microsecond}, Moves: []time.Duration{2 * time.Millisecond}}
	second := failover.Outcome{Case: "unplug", Struck: []int{3}, Healed: true, Doubles: 4, Strays: 7, Took: time.Millisecond,
		Gaps: []time.Duration{200 * time.Millisecond}, Needless: []time.Duration{8 * time.Millisecond, 6 * time.Millisecond}}
	for turn, o := range []failover.Outcome{first, second} {
		r, err := openRecord(dir, false)
		if err != nil {
			t.Fatal(err)
		}
		if n := r.count(c, "unplug"); n != turn {
			t.Errorf("%d faults on record, want %d", n, turn)
		}
		if err := r.add(c, turn, o); err != nil {
			t.Fatal(err)
		}
		if err := r.close(); err != nil {
			t.Fatal(err)
		}
	}
	r, err := openRecord(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	got := []failover.Outcome{r.rows[0].Outcome, r.rows[1].Outcome}
	if diff := cmp.Diff([]failover.Outcome{first, second}, got); diff != "" {
		t.Error(diff)
	}
	if err := r.writePage(dir); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "soak.md"))
	if err != nil {
		t.Fatal(err)
	}
	want := "| 2 | 3 | 0 ms | 102 ms | 200 ms | 200 ms | 4 | 2 (up to 8 ms) | 7 | 2 ms | 2 ms | 1 |"
	if !strings.Contains(string(page), "## gateway, 3 nodes") || !strings.Contains(string(page), want) {
		t.Errorf("no %q in\n%s", want, page)
	}
	fresh, err := openRecord(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.close()
	if len(fresh.rows) > 0 {
		t.Error("a fresh record has faults")
	}
}

func TestCampaigns(t *testing.T) {
	for _, test := range []struct {
		o    options
		want []string
	}{
		{options{timing: "default", modes: "backend", nodes: "2,5", count: 3, faults: "unplug,two-off"}, []string{
			"backend 2 default: 3 × [unplug]", "backend 5 default: 3 × [unplug two-off]"}},
		{options{timing: "fast", modes: "gateway", faults: "mute,mute-server"}, []string{
			"gateway 3 fast: 10 × [mute mute-server]", "gateway 5 fast: 10 × [mute mute-server]", "gateway 2 fast: 10 × [mute mute-server]"}},
		{options{timing: "fast", modes: "backend", nodes: "3", faults: "loss-1"}, []string{"backend 3 fast: 100 × [loss-1]"}},
	} {
		all, err := test.o.campaigns()
		var got []string
		for _, c := range all {
			var names []string
			for _, k := range c.kinds {
				names = append(names, k.Name)
			}
			got = append(got, fmt.Sprintf("%s %d %s: %d × %v", c.mode, c.nodes, c.timing, c.count, names))
		}
		if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
			t.Errorf("%+v: %v %s", test.o, err, diff)
		}
	}
	for _, o := range []options{{timing: "slow"}, {timing: "fast", nodes: "4"}, {timing: "fast", faults: "earthquake"}} {
		if _, err := o.campaigns(); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}
