package sim

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	update    = flag.Bool("update", false, "rewrite what the scripts in testdata expect")
	schedules = flag.Int("schedules", 3000, "how many random schedules to run")
	from      = flag.Uint64("from", 0, "seed of the first one; 0: from the clock")
	enough    = flag.Int("enough", 100, "stop after so many failures")
	seed      = flag.Uint64("seed", 1, "the schedule that TestSeed runs")
	traced    = flag.Bool("trace", false, "tell all that happens in it")
	shrink    = flag.Bool("shrink", false, "shrink what fails")
)

func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Play(string(want), nil)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(got, "VIOLATION") {
				t.Errorf("a violation, which is never what is expected:\n%s", got)
			} else if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("what happened is not what was expected (-update rewrites it):\n%s", diff)
			}
		})
	}
}

// tolerated is how many of a hundred thousand schedules may break what doc.go, "What
// does not hold yet", names; and of any number, one.
const tolerated = 5

// TestSchedules runs random schedules on all processors.
func TestSchedules(t *testing.T) {
	first := *from
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	report := Hunt(first, *schedules, runtime.GOMAXPROCS(0), *enough)
	t.Logf("from seed %d: %v", first, report)
	open, kinds := 0, map[string]int{}
	for _, f := range report.Failures {
		s := Random(f.Seed)
		kinds[fmt.Sprintf("%s, partition: %s", kindOf(f.What), s.partition())]++
		text := fmt.Sprintf("%s\n\t%s\n\tgo test ./internal/sim -run TestSeed -seed %d -shrink -trace", f.What, s.Setup.String(), f.Seed)
		if isOpen(f, &s) {
			open++
			t.Log("does not hold yet: ", text)
		} else {
			t.Errorf("%s\n%s", text, s.Shrink())
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		t.Logf("%d of %d: %s", kinds[kind], report.Schedules, kind)
	}
	if limit := max(*schedules*tolerated/100_000, 1); open > limit {
		t.Errorf("%d of %d schedules break what does not always hold yet, more than %d", open, report.Schedules, limit)
	}
	if *shrink {
		for what, s := range report.Shortest(5) {
			t.Logf("shortest found for %s: %s\n%s", what, s.Run(nil).failure, s)
		}
	}
}

// isOpen reports whether a failure is one that doc.go names: how long things
// take, and how nodes come to rest that have lost their memory.
func isOpen(f Failure, s *Schedule) bool {
	switch kindOf(f.What) {
	case "invariant 3", "invariant 4":
		return true
	case "at rest":
		return slices.ContainsFunc(s.Lines, func(l Line) bool { return strings.Contains(l.Text, "amnesia") })
	}
	return false
}

func TestSeed(t *testing.T) {
	s := Random(*seed)
	w := s.Run(nil)
	if *traced {
		w = s.Run(os.Stdout)
	}
	if w.failure == "" {
		return
	}
	t.Errorf("seed %d: %s\n%s", *seed, w.failure, s.String())
	if *shrink {
		short := s.Shrink()
		w := short.Run(nil)
		if *traced {
			w = short.Run(os.Stdout)
		}
		t.Errorf("shrunk: %s\n%s", w.failure, short.String())
	}
}

var script = flag.String("script", "", "a script for TestScript to play, outside testdata")

// TestScript plays a script that is being written.
func TestScript(t *testing.T) {
	if *script == "" {
		return
	}
	text, err := os.ReadFile(*script)
	if err != nil {
		t.Fatal(err)
	}
	var trace io.Writer
	if *traced {
		trace = os.Stdout
	}
	got, err := Play(string(text), trace)
	t.Logf("%v\n%s", err, got)
}
