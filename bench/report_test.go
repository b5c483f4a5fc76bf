package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shoal-net/shoal/test/failover"
)

func TestQuantiles(t *testing.T) {
	s := sample{4, 1, 3, 2}
	for q, want := range map[float64]float64{0: 1, 0.25: 1.75, 0.5: 2.5, 0.75: 3.25, 1: 4} {
		if got := s.quantile(q); got != want {
			t.Errorf("quantile(%v) = %v, want %v", q, got, want)
		}
	}
	if got := (sample{7}).median(); got != 7 {
		t.Errorf("median of one value = %v, want 7", got)
	}
}

func TestReplaceSection(t *testing.T) {
	const page = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n"
	got, err := replaceSection(page, "x", "new\n")
	if want := "a\n<!-- begin x -->\n\nnew\n\n<!-- end x -->\nb\n"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if again, err := replaceSection(got, "x", "new\n"); err != nil || again != got {
		t.Errorf("a second time: %q, %v", again, err)
	}
	for _, broken := range []string{"", "<!-- begin x -->\n", "<!-- end x -->"} {
		if _, err := replaceSection(broken, "x", ""); err == nil {
			t.Errorf("%q: no error", broken)
		}
	}
}

// testReport is what a run of three rounds could bring.
func testReport() *report {
	s := sample{20, 21, 22}
	return &report{
		costs: []costResult{
			{costCase: costCase{name: "bare"}, total: s, more: s.minus(s)},
			{costCase: costCase{name: "foreign", target: 12}, total: sample{30, 34, 35}, more: sample{10, 13, 13}},
		},
		drops: []dropResult{
			{dropCase: dropCase{name: "bare"}, total: s, delivered: s},
			{dropCase: dropCase{name: "shoal", shoal: true}, total: s, delivered: s},
			{dropCase: dropCase{name: "peer", target: 2}, total: sample{50, 50, 50}, delivered: sample{45, 42, 41}},
		},
		transfers: []transferResult{{"no shoal", sample{1, 2, 3}, sample{2, 3, 4}}},
		failovers: []failoverResult{
			{failoverCase: failoverCase{name: "shoal", target: 150}, fault: failover.Case{Name: "unplug"}, gaps: sample{110, 120, 151}},
			{failoverCase: failoverCase{name: "peer"}, fault: failover.Case{Name: "freeze-both"}, gaps: sample{0, 0, 4}, answers: 2},
		},
	}
}

func TestTables(t *testing.T) {
	text := testReport().text()
	for _, want := range []string{
		"| foreign | 34.0 | bare | 13.0 (11.5–13.0) | ≤ 12 | **missed** |",
		"| peer | 50 | 20.00 | 42 (41.5–43.5) | 2.0× | ≥ 2.0× | reached |",
		"| no shoal | 2.0 (1.5–2.5) | 3.0 (2.5–3.5) |",
		"| shoal | the node's cables pulled | 120 (115.0–135.5) | 151 | ≤ 150 | **missed** | 0 | no |",
		"| peer | its processes stopped (SIGSTOP) | 0 (0.0–2.0) | 4 |  |  | 0 | **yes**, in 2 of 3 |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestComplete(t *testing.T) {
	amount := effort{rounds: 3, transfers: 3, failovers: 3}
	if err := testReport().complete(amount); err != nil {
		t.Error(err)
	}
	r := testReport()
	r.drops[2].total = sample{50, 50}
	if err := r.complete(amount); err == nil || !strings.Contains(err.Error(), "peer") {
		t.Errorf("a row that lacks a round: %v", err)
	}
	r = testReport()
	r.failovers[1].gaps = nil
	if err := r.complete(amount); err == nil || !strings.Contains(err.Error(), "freeze-both") {
		t.Errorf("a fault that never happened: %v", err)
	}
	r = testReport()
	r.transfers[0].download[1] = 0
	if err := r.complete(amount); err == nil {
		t.Error("a transfer of nothing: no error")
	}
}

func TestPlots(t *testing.T) {
	dir := t.TempDir()
	if err := testReport().plots(dir); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"cost.svg": "foreign", "drop.svg": "peer", "transfer.svg": "no shoal, upload", "failover.svg": "shoal, unplug"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Error(err)
		} else if !strings.Contains(string(text), want) {
			t.Errorf("%s does not name %q", file, want)
		}
	}
}

// TestSources: the generator's addresses are those of one node, and all of it.
func TestSources(t *testing.T) {
	seen := map[uint16]int{}
	for node := range 2 {
		for _, low := range sourcesOf(node) {
			if other, found := seen[low]; found && other != node {
				t.Fatalf("198.18.%d.%d is handled by both nodes", low>>8, low&0xff)
			}
			seen[low] = node
		}
	}
	if len(seen) != sourceSlots {
		t.Errorf("%d addresses in all, want %d", len(seen), sourceSlots)
	}
}
