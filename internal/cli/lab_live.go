package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/lab"
)

const (
	livePeriod = 250 * time.Millisecond // between two drawings of the live table
	linePeriod = time.Second            // between two lines of progress
)

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// showLines writes a line of progress now and then, until done.
func showLines(env *Env, probe *lab.Probe, done <-chan struct{}) {
	tick := time.NewTicker(linePeriod)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			fmt.Fprintln(env.Stderr, labLine(probe.Report()))
		}
	}
}

func labLine(r lab.Report) string {
	return fmt.Sprintf("%.0f s: %d requests, %d once, %d none, %d twice, %d by two nodes; shares %.1f to %.1f %%",
		r.Seconds, r.Requests, r.Once, r.None, r.Twice, r.Overlaps, 100*r.Evenness.Min, 100*r.Evenness.Max)
}

// showLive shows the report as it grows, until done. Ctrl-C, which is a key
// there, calls end.
func showLive(env *Env, name string, probe *lab.Probe, done <-chan struct{}, end func()) error {
	input := io.Reader(nil)
	if isTerminal(env.Stdin) {
		input = env.Stdin
	}
	program := tea.NewProgram(labScreen{name: name, probe: probe, end: end},
		tea.WithInput(input), tea.WithOutput(env.Stdout), tea.WithoutSignalHandler())
	go func() {
		<-done
		program.Send(labOver{})
	}()
	if _, err := program.Run(); err != nil {
		return fmt.Errorf("show the table: %w", err)
	}
	return nil
}

// labScreen is the live table.
type labScreen struct {
	name   string
	probe  *lab.Probe
	end    func()
	ending bool
	over   bool
}

type (
	drawAgain time.Time
	labOver   struct{}
)

func drawLater() tea.Cmd {
	return tea.Tick(livePeriod, func(t time.Time) tea.Msg { return drawAgain(t) })
}

func (s labScreen) Init() tea.Cmd { return drawLater() }

func (s labScreen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case drawAgain:
		return s, drawLater()
	case labOver:
		s.over = true
		return s, tea.Quit
	case tea.KeyPressMsg:
		if key := msg.String(); key == "ctrl+c" || key == "q" {
			s.ending = true
			s.end()
		}
	}
	return s, nil
}

// View is empty at the end: the final report takes its place.
func (s labScreen) View() tea.View {
	if s.over {
		return tea.NewView("")
	}
	hint := fmt.Sprintf("Ctrl-C ends it. Look inside with: shoal lab shell --name %s node1", s.name)
	if s.ending {
		hint = "waiting for the last answers"
	}
	r := s.probe.Report()
	return tea.NewView(fmt.Sprintf("%s\n%.0f s. %s\n", r.Table(), r.Seconds, hint))
}
