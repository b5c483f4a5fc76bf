package sim

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
)

// A script is a series of blocks, divided by empty lines. A block is lines for
// World.Do or one of
//
//	cluster KEY=VALUE...   a new world: see Setup.String
//	run DURATION           let time pass
//	repair                 end all faults and let the cluster come to rest
//	show                   what each host handles
//
// then a line of four dashes, then what happened, told from the beginning of
// the block. Lines that start with # are for the reader.

// Play runs a script and returns it with what happened instead of what was
// expected.
func Play(script string, trace io.Writer) (string, error) {
	var w *World
	var out strings.Builder
	for block := range strings.SplitSeq(strings.Trim(script, "\n"), "\n\n") {
		commands, _, expects := strings.Cut(block+"\n", "\n----\n")
		if out.Len() > 0 {
			out.WriteByte('\n')
		}
		out.WriteString(strings.TrimSuffix(commands, "\n") + "\n")
		var story bytes.Buffer
		if w != nil {
			w.begun, w.story = w.now, &story
		}
		for line := range strings.SplitSeq(commands, "\n") {
			var err error
			if w, err = w.command(strings.TrimSpace(line), &story, trace); err != nil {
				return "", err
			}
		}
		if expects || story.Len() > 0 {
			out.WriteString("----\n")
			out.Write(story.Bytes())
		}
	}
	return out.String(), nil
}

// command runs one line of a script.
func (w *World) command(line string, story *bytes.Buffer, trace io.Writer) (*World, error) {
	verb, rest, _ := strings.Cut(line, " ")
	if verb == "" || verb[0] == '#' {
		return w, nil
	}
	if verb == "cluster" {
		s, err := ParseSetup(strings.Fields(rest))
		if err != nil {
			return nil, err
		}
		w = NewWorld(s, trace)
		w.story = story
		return w, nil
	}
	if w == nil {
		return nil, fmt.Errorf("%s: no cluster yet", line)
	}
	switch verb {
	case "run":
		d, err := time.ParseDuration(rest)
		w.Run(w.now + instant(d))
		return w, err
	case "repair":
		w.repair()
		w.rests()
		w.converged()
		return w, nil
	case "show":
		for i, h := range w.hosts {
			fmt.Fprintf(story, "%s: %s, table %s\n", h.name, buckets(w.oracle.active[i]), number(h.plane.tableEpoch))
		}
		return w, nil
	}
	w.Run(w.now) // as in a schedule: what is due comes first
	return w, w.Do(line)
}
