package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/shoal-net/shoal/internal/capture"
)

// matchCapture reports who handles the packets of a capture, and writes this
// node's share. What could be read is reported, whatever comes after.
func matchCapture(ctx context.Context, env *Env, o matchOptions) error {
	source, size, err := openCapture(env, o)
	if err != nil {
		return err
	}
	defer source.Close()
	in := interruptible(ctx, source)
	defer in.Close()
	reader, err := capture.NewReader(in)
	if err != nil {
		return fmt.Errorf("%s: %w", o.read, err)
	}
	var out *capture.Writer
	var write func(capture.Packet) error
	if o.write != "" {
		if out, err = capture.Create(o.write); err != nil {
			return err
		}
		write = out.Write
	}
	bar := newProgress(env.Stderr, size)
	tally, err := capture.Share(reader, o.matches[0], write, bar.step)
	bar.end()

	failed := false
	for _, err := range []error{
		printTally(env.Stdout, o, tally),
		named(o.read, tally.FirstUnknown),
		named(o.read, err),
		finish(ctx, out, o.write, tally, err),
	} {
		if err != nil {
			fmt.Fprintln(env.Stderr, "shoal:", err)
			failed = true
		}
	}
	if failed {
		return errQuiet
	}
	return nil
}

// openCapture opens the file to read and returns its length in bytes, 0 if
// that is not known.
func openCapture(env *Env, o matchOptions) (io.ReadCloser, int64, error) {
	if o.read == "-" {
		return io.NopCloser(env.Stdin), 0, nil
	}
	file, err := os.Open(o.read)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	if written, err := os.Stat(o.write); err == nil && os.SameFile(info, written) {
		file.Close()
		return nil, 0, usageError{fmt.Errorf("-w: %s is the capture that -r reads", o.write)}
	}
	if !info.Mode().IsRegular() {
		return file, 0, nil
	}
	return file, info.Size(), nil
}

func named(file string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", file, err)
}

// finish gives the written file its name, and says so where it cannot hold the
// share of the whole capture. Where not even all that was read is in it, it
// goes.
func finish(ctx context.Context, out *capture.Writer, path string, tally capture.Tally, err error) error {
	if out == nil {
		return nil
	}
	var failed *capture.WriteError
	if ctx.Err() != nil || errors.As(err, &failed) {
		out.Abort()
		return fmt.Errorf("%s: not written", path)
	}
	if commit := out.Commit(); commit != nil {
		return commit
	}
	if readable := tally.Total().Packets - tally.Unknown.Packets; err != nil || tally.FirstUnknown != nil {
		return fmt.Errorf("%s: is this node's share of the %d packets that could be read, not of the whole capture", path, readable)
	}
	return nil
}

// printTally prints a line per node, and one for each kind of packet that has
// no node, if there is any.
func printTally(w io.Writer, o matchOptions, tally capture.Tally) error {
	var shared capture.Count
	for _, c := range tally.Nodes {
		shared.Packets += c.Packets
		shared.Bytes += c.Bytes
	}
	_, err := fmt.Fprintf(w, "%-14s%14s%10s%18s\n", "NODE", "PACKETS", "SHARE", "BYTES")
	line := func(name string, c capture.Count, share string) {
		if err == nil {
			_, err = fmt.Fprintf(w, "%-14s%14d%10s%18d\n", name, c.Packets, share, c.Bytes)
		}
	}
	percent := func(c capture.Count) string {
		return fmt.Sprintf("%.1f %%", 100*float64(c.Packets)/float64(max(shared.Packets, 1)))
	}
	for i, c := range tally.Nodes {
		line(fmt.Sprint(i+1), c, percent(c))
	}
	if o.matches[0].NodeMask != 0 {
		line("this node", tally.Matched, percent(tally.Matched))
	}
	line("not IP", tally.NotIP, "")
	if tally.Damaged.Packets > 0 {
		line("damaged IP", tally.Damaged, "")
	}
	if tally.Unknown.Packets > 0 {
		line("unknown link", tally.Unknown, "")
	}
	line("all", tally.Total(), "")
	if err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	return nil
}
