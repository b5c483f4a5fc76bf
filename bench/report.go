package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/shoal-net/shoal/test/handover"
)

// report is all that one run measured.
type report struct {
	costs     []costResult
	drops     []dropResult
	transfers []transferResult
	failovers []failoverResult
	controls  []controlResult
	handover  *handoverResult // nil: not measured
	drains    []handover.DrainTimes
}

// complete says whether every row was measured in every round.
func (r *report) complete(amount effort) error {
	check := func(name string, s sample, rounds int) error {
		if len(s) != rounds {
			return fmt.Errorf("%s: %d rounds, expected %d", name, len(s), rounds)
		}
		for _, v := range s {
			if math.IsNaN(v) || math.IsInf(v, 0) || v <= 0 {
				return fmt.Errorf("%s: measured %v", name, v)
			}
		}
		return nil
	}
	for _, c := range r.costs {
		if err := check(c.name, c.total, amount.rounds); err != nil {
			return err
		}
	}
	for _, d := range r.drops {
		if err := check(d.name, d.total, amount.rounds); err != nil {
			return err
		}
	}
	for _, t := range r.transfers {
		for _, s := range []sample{t.upload, t.download} {
			if err := check(t.name, s, amount.transfers); err != nil {
				return err
			}
		}
	}
	for _, c := range r.controls {
		name := fmt.Sprintf("%d nodes at %v", c.nodes, c.interval)
		for _, s := range []sample{c.cpu, c.sent, c.received, c.kbits} {
			if err := check(name, s, amount.controls); err != nil {
				return err
			}
		}
	}
	if h := r.handover; h != nil && len(h.gaps) != amount.moves { // a gap may be 0: no SYN hit it
		return fmt.Errorf("%d hand-overs, expected %d", len(h.gaps), amount.moves)
	}
	for _, f := range r.failovers {
		if len(f.gaps) != amount.failovers { // a frozen peer goes on answering: a gap may be 0
			return fmt.Errorf("%s, %s: %d rounds, expected %d", f.name, f.fault.Name, len(f.gaps), amount.failovers)
		}
	}
	return nil
}

// text returns the tables as they go into the pages.
func (r *report) text() string {
	var all []string
	for _, page := range r.pages() {
		for _, section := range page.sections {
			all = append(all, section.table)
		}
	}
	return strings.Join(all, "\n")
}

// table returns a Markdown table; columns but the first are set to the right.
func table(header []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(header)
	line(append([]string{"---"}, strings.Split(strings.Repeat("---: ", len(header)-1), " ")[:len(header)-1]...))
	for _, row := range rows {
		line(row)
	}
	return b.String()
}

func verdict(reached bool) string {
	if reached {
		return "reached"
	}
	return "**missed**"
}

func (r *report) costTable() string {
	var rows [][]string
	for i, c := range r.costs {
		row := []string{c.name, fmt.Sprintf("%.1f", c.total.median()), "", "", "", ""}
		if i != c.floor {
			row[2] = r.costs[c.beside].name
			row[3] = fmt.Sprintf("%.1f (%s)", c.more.median(), c.more.spread())
		}
		if c.target > 0 {
			row[4] = fmt.Sprintf("≤ %.0f", c.target)
			row[5] = verdict(c.more.median() <= c.target)
		}
		rows = append(rows, row)
	}
	return table([]string{"path", "ns in all", "compared with", "ns more (middle half)", "target", ""}, rows)
}

func (r *report) dropTable() string {
	native := r.drops[1].delivered // dropCases has it second
	var rows [][]string
	for _, d := range r.drops {
		ratio := d.delivered.median() / native.median()
		row := []string{
			d.name,
			fmt.Sprintf("%.0f", d.total.median()),
			fmt.Sprintf("%.2f", 1e3/d.total.median()),
			fmt.Sprintf("%.0f (%s)", d.delivered.median(), d.delivered.spread()),
			fmt.Sprintf("%.1f×", ratio), "", "",
		}
		if d.target > 0 {
			row[5] = fmt.Sprintf("≥ %.1f×", d.target)
			row[6] = verdict(ratio >= d.target)
		}
		rows = append(rows, row)
	}
	return table([]string{"who drops", "ns in all", "Mpps on a core", "ns at the node (middle half)", "of shoal native", "target", ""}, rows)
}

func (r *report) transferTable() string {
	var rows [][]string
	for _, t := range r.transfers {
		rows = append(rows, []string{
			t.name,
			fmt.Sprintf("%.1f (%s)", t.upload.median(), t.upload.spread()),
			fmt.Sprintf("%.1f (%s)", t.download.median(), t.download.spread()),
		})
	}
	return table([]string{"node", "upload, Gbit/s (middle half)", "download, Gbit/s (middle half)"}, rows)
}
