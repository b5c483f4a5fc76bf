package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/shoal-net/shoal/internal/heartbeat"
)

// How a drain is waited for.
const (
	drainPeriod   = 200 * time.Millisecond // between two looks
	drainLine     = 10 * time.Second       // between two lines where there is no terminal
	drainPatience = 10 * time.Second       // with an agent that does not answer
)

// errInterrupted: somebody does not want to wait any longer.
var errInterrupted = errors.New("interrupted")

// drainProgress is how far a node has handed its buckets over.
type drainProgress struct {
	node           string
	total          int // buckets that it had when it began
	owned          int // that it owns still
	left           int // that it gave up, and has flows of
	gone, returned bool
}

func (p drainProgress) complete() bool { return p.owned+p.left == 0 }

func newDrainProgress(m *heartbeat.Status, node, total int) drainProgress {
	n := nodeByID(m, node)
	return drainProgress{node: n.Name, total: max(total, n.Buckets+n.Draining), owned: n.Buckets, left: n.Draining,
		gone: !n.Present, returned: n.DrainedBy == 0}
}

// String is a line for people.
func (p drainProgress) String() string {
	over := p.total - p.owned - p.left
	line := fmt.Sprintf("%d of %d buckets handed over", over, p.total)
	if p.left > 0 {
		line += fmt.Sprintf(", %d with flows left", p.left)
	}
	return line
}

// bar is the line with a bar before it.
func (p drainProgress) bar() string {
	over := p.total - p.owned - p.left
	full, percent := progressWidth, 100
	if p.total > 0 {
		full, percent = over*progressWidth/p.total, over*100/p.total
	}
	return fmt.Sprintf("[%s%s] %3d %%, %s", strings.Repeat("#", full), strings.Repeat(".", progressWidth-full), percent, p)
}

// awaitDrain waits until a node has handed all over that it had, and shows how
// far it is. Where it gives up, the drain stays in force.
func awaitDrain(ctx context.Context, s station, node, total int, timeout time.Duration, show func(drainProgress)) (p drainProgress, err error) {
	var over <-chan time.Time
	if timeout > 0 {
		over = time.After(timeout)
	}
	tick := time.NewTicker(drainPeriod)
	defer tick.Stop()
	for heard := time.Now(); ; {
		m, err := s.Members()
		if err == nil && m.View == nil {
			err = errors.New("the node has no view of the cluster")
		}
		switch {
		case err == nil:
			heard = time.Now()
			p = newDrainProgress(m, node, total)
			total = p.total
			show(p)
			if p.returned {
				return p, fmt.Errorf("somebody has ended the drain of %s", p.node)
			}
			if p.complete() {
				return p, nil
			}
		case time.Since(heard) > drainPatience:
			return p, fmt.Errorf("the drain goes on, but nobody tells how far it is: %w", err)
		}
		select {
		case <-ctx.Done():
			return p, errInterrupted
		case <-over:
			return p, fmt.Errorf("not complete after %v: %s; the drain goes on (`shoal drain` waits again, `shoal undrain` ends it)", timeout, p)
		case <-tick.C:
		}
	}
}

// drainScreen shows progress as a bar on a terminal, else as a line now and
// then.
type drainScreen struct {
	w        io.Writer
	terminal bool
	shown    time.Time
}

func (d *drainScreen) show(p drainProgress) {
	if d.terminal {
		fmt.Fprintf(d.w, "\r%s\x1b[K", p.bar())
		return
	}
	if now := time.Now(); now.Sub(d.shown) >= drainLine && !p.complete() {
		d.shown = now
		fmt.Fprintf(d.w, "%s: %s\n", p.node, p)
	}
}

// end removes the bar.
func (d *drainScreen) end() {
	if d.terminal {
		fmt.Fprint(d.w, "\r\x1b[K")
	}
}
