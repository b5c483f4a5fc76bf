//go:build privileged

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/lab"
)

// patience is how long a test waits for what should take a moment.
const patience = 15 * time.Second

// A logbook keeps what agents log.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logbook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logbook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// count is how many lines hold all the words.
func (b *logbook) count(words ...string) int {
	n := 0
lines:
	for line := range strings.Lines(b.String()) {
		for _, word := range words {
			if !strings.Contains(line, word) {
				continue lines
			}
		}
		n++
	}
	return n
}

// awaitLine waits until more than before lines hold all the words.
func (b *logbook) awaitLine(t *testing.T, before int, words ...string) {
	t.Helper()
	await(t, fmt.Sprintf("a line with %q in the log", words), func() bool { return b.count(words...) > before })
}

// await waits until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain for: %s", patience, what)
		}
	}
}

// probe lets each client ask once in every way, and fails the test if there
// was not one answer to each, from one node.
func probe(t *testing.T, l *lab.Lab, kinds ...lab.Kind) lab.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := l.Probe(ctx, lab.ProbeOptions{Kinds: kinds, Rounds: 1, Interval: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() {
		t.Errorf("not every request was answered once, by one node:\n%s\n%s", r.Table(), strings.Join(r.Faults, "\n"))
	}
	return r
}
