package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-net/shoal/test/failover"
)

// A record is the file of all faults, one line each. The pages are made of it.
type record struct {
	file   *os.File
	csv    *csv.Writer
	commit string
	rows   []row
}

// A row is one fault.
type row struct {
	mode, timing string
	nodes, turn  int
	commit       string
	failover.Outcome
}

const recordName = "soak.csv"

var columns = []string{"mode", "nodes", "timing", "fault", "turn", "struck", "settled", "healed", "took_ms", "twice",
	"gaps_ms", "needless_ms", "strays", "moves_ms", "commit"}

func openRecord(dir string, fresh bool) (*record, error) {
	path := filepath.Join(dir, recordName)
	if fresh {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the record: %w", err)
	}
	r := &record{file: f, csv: csv.NewWriter(f), commit: commit()}
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", path, err), f.Close())
	}
	for i, line := range lines {
		if i == 0 {
			continue
		}
		row, err := parseRow(line)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read %s, line %d: %w", path, i+1, err), f.Close())
		}
		r.rows = append(r.rows, row)
	}
	if len(lines) == 0 {
		return r, r.write(columns)
	}
	return r, nil
}

// commit names what is measured.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func (r *record) write(line []string) error {
	r.csv.Write(line)
	r.csv.Flush()
	if err := r.csv.Error(); err != nil {
		return fmt.Errorf("write the record: %w", err)
	}
	return nil
}

func (r *record) close() error { return r.file.Close() }

// add appends a fault.
func (r *record) add(c campaign, turn int, o failover.Outcome) error {
	n := row{c.mode.String(), c.timing, c.nodes, turn, r.commit, o}
	r.rows = append(r.rows, n)
	return r.write(n.fields())
}

// count is how many faults of a kind a campaign has had.
func (r *record) count(c campaign, fault string) int { return len(r.of(c, fault)) }

func (r *record) of(c campaign, fault string) (all []row) {
	for _, n := range r.rows {
		if n.mode == c.mode.String() && n.timing == c.timing && n.nodes == c.nodes && n.Case == fault {
			all = append(all, n)
		}
	}
	return all
}

func (n row) fields() []string {
	struck := make([]string, len(n.Struck))
	for i, id := range n.Struck {
		struck[i] = strconv.Itoa(id)
	}
	return []string{n.mode, strconv.Itoa(n.nodes), n.timing, n.Case, strconv.Itoa(n.turn), strings.Join(struck, " "),
		strconv.FormatBool(n.Settled), strconv.FormatBool(n.Healed), millis(n.Took), strconv.Itoa(n.Doubles),
		allMillis(n.Gaps), allMillis(n.Needless), strconv.Itoa(n.Strays), allMillis(n.Moves), n.commit}
}

func parseRow(f []string) (n row, err error) {
	if len(f) != len(columns) {
		return n, fmt.Errorf("%d fields instead of %d", len(f), len(columns))
	}
	var errs []error
	number := func(s string) int {
		v, err := strconv.Atoi(s)
		errs = append(errs, err)
		return v
	}
	truth := func(s string) bool {
		v, err := strconv.ParseBool(s)
		errs = append(errs, err)
		return v
	}
	times := func(s string) (all []time.Duration) {
		for _, word := range strings.Fields(s) {
			v, err := strconv.ParseFloat(word, 64)
			errs = append(errs, err)
			all = append(all, time.Duration(v*float64(time.Millisecond)))
		}
		return all
	}
	n = row{mode: f[0], nodes: number(f[1]), timing: f[2], turn: number(f[4]), commit: f[14]}
	n.Case, n.Settled, n.Healed, n.Doubles = f[3], truth(f[6]), truth(f[7]), number(f[9])
	for _, word := range strings.Fields(f[5]) {
		n.Struck = append(n.Struck, number(word))
	}
	for _, t := range times(f[8]) {
		n.Took = t
	}
	n.Gaps, n.Needless, n.Moves = times(f[10]), times(f[11]), times(f[13])
	n.Strays = number(f[12])
	return n, errors.Join(errs...)
}

func millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Round(100*time.Microsecond))/float64(time.Millisecond), 'f', -1, 64)
}

func allMillis(all []time.Duration) string {
	words := make([]string, len(all))
	for i, d := range all {
		words[i] = millis(d)
	}
	return strings.Join(words, " ")
}
