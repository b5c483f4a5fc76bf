//go:build privileged

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/shoal-net/shoal/internal/lab"
)

// shoal is the path of the binary under test.
var shoal string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make network namespaces: run them as root")
		return 1
	}
	dir, err := os.MkdirTemp("", "shoal-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	shoal = filepath.Join(dir, "shoal")
	build := exec.Command("go", "build", "-o", shoal, "github.com/shoal-net/shoal/cmd/shoal")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build shoal: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

var labs atomic.Int32

// labName returns a name that no other lab on this machine has.
func labName() string { return fmt.Sprintf("e2e-%d-%d", os.Getpid(), labs.Add(1)) }

// startLab builds a lab with the binary under test and closes it with the
// test. A test that fails shows what the agents logged.
func startLab(t *testing.T, o lab.Options) *lab.Lab {
	t.Helper()
	l, _ := newLab(t, o)
	return l
}

// newLab builds a lab as startLab does, and gives the log of its agents, too.
func newLab(t *testing.T, o lab.Options) (*lab.Lab, *logbook) {
	t.Helper()
	if o.Name == "" {
		o.Name = labName()
	}
	if o.Binary == "" {
		o.Binary = shoal
	}
	log := &logbook{}
	o.Log = log
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the agents' logs:\n%s", log)
		}
	})
	l, err := lab.New(t.Context(), o)
	must(t, err)
	t.Cleanup(func() {
		for _, n := range l.Nodes {
			if err := n.Err(); err != nil {
				t.Log(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, log
}

// must fails the test at once on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// in runs a program in a namespace of a lab and returns what it printed.
func in(t *testing.T, ns *lab.Namespace, name string, args ...string) string {
	t.Helper()
	out, err := ns.Run(t.Context(), name, args...)
	must(t, err)
	return out
}
