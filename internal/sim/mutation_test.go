package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A simulator that finds nothing proves nothing unless it finds what is there:
// each mutation (mutations_test.go) breaks one clause of the protocol, and the
// script written against that clause must then lead to a violation. With the
// clause in place it must not.

// mutation is a fault planted in internal/member.
type mutation struct {
	name   string // of the script, too: testdata/mutations/NAME.txt
	clause string // that it breaks
	edits  []edit
}

// edit replaces a text that is found once in internal/member.
type edit struct{ old, new string }

// seeds is how many times a script is played, each time with another number
// for seed=?: phases of heartbeats, delays and losses differ, and the moment
// that matters need not be hit at once, or by one exact order of events that
// the next change of the protocol would upset.
const seeds = 60

// spared is what such a script says must not be told of it either: clauses that
// spare clients what they could do without are no invariants.
var spared = regexp.MustCompile(`(?m)^# never: (.*)\n`)

// anySeed is what a script that is played with many seeds says.
var anySeed = regexp.MustCompile(`\bseed=\?`)

// playAll plays a script with each seed until something is violated.
func playAll(file string) (violation string, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for seed := 1; seed <= seeds; seed++ {
		script := anySeed.ReplaceAllString(string(text), fmt.Sprintf("seed=%d", seed))
		out, err := Play(spared.ReplaceAllString(script, ""), nil)
		if err != nil {
			return "", err
		}
		if m := spared.FindStringSubmatch(script); m != nil && strings.Contains(out, m[1]) {
			return fmt.Sprintf("VIOLATION with seed %d: %s", seed, m[1]), nil
		}
		if _, what, found := strings.Cut(out, "VIOLATION "); found {
			what, _, _ = strings.Cut(what, "\n")
			return fmt.Sprintf("VIOLATION with seed %d: %s", seed, what), nil
		}
	}
	return "", nil
}

var mutant = flag.String("mutant", "", "a script for TestMutant to play with many seeds")

// TestMutant is what TestMutations runs in a binary with a fault.
func TestMutant(t *testing.T) {
	if *mutant == "" {
		return
	}
	violation, err := playAll(*mutant)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(violation)
}

func TestMutations(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the simulator once for each mutation")
	}
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			script, err := filepath.Abs(filepath.Join("testdata", "mutations", m.name+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			if violation, err := playAll(script); err != nil || violation != "" {
				t.Fatalf("without the fault: %v %s", err, violation)
			}
			binary := m.build(t)
			begun := time.Now()
			out, err := exec.Command(binary, "-test.run=^TestMutant$", "-mutant="+script).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "VIOLATION") {
				t.Fatalf("nothing is violated without clause %s: %v\n%s", m.clause, err, out)
			}
			first, _, _ := strings.Cut(string(out), "\n")
			t.Logf("clause %s, found in %v: %s", m.clause, time.Since(begun).Round(time.Millisecond), first)
		})
	}
}

// build compiles this package's tests with the fault planted.
func (m *mutation) build(t *testing.T) (binary string) {
	dir := t.TempDir()
	files, err := filepath.Glob("../member/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var overlay struct{ Replace map[string]string }
	overlay.Replace = map[string]string{}
	found := make([]int, len(m.edits))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		planted := string(text)
		for i, e := range m.edits {
			found[i] += strings.Count(planted, e.old)
			planted = strings.ReplaceAll(planted, e.old, e.new)
		}
		if planted != string(text) && !strings.HasSuffix(file, "_test.go") {
			path, err := filepath.Abs(file)
			if err != nil {
				t.Fatal(err)
			}
			overlay.Replace[path] = filepath.Join(dir, filepath.Base(file))
			writeFile(t, overlay.Replace[path], []byte(planted))
		}
	}
	for i, n := range found {
		if n != 1 {
			t.Fatalf("old text found %d times in internal/member: %s", n, m.edits[i].old)
		}
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "overlay.json"), list)
	binary = filepath.Join(dir, "sim.test")
	cmd := exec.Command("go", "test", "-c", "-vet=off", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build with the fault: %v\n%s", err, out)
	}
	return binary
}

func writeFile(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
}
