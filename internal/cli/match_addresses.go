package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// longestAddress bounds a line of input, in bytes: many times what an address
// with a zone needs.
const longestAddress = 4096

// matchAddresses answers for the addresses of the command line, or of standard
// input. Those that are none are named on standard error and passed over.
func matchAddresses(ctx context.Context, env *Env, o matchOptions) error {
	out := bufio.NewWriter(env.Stdout)
	failed := false
	answer := func(place string, number int, text string) {
		if err := o.answer(out, text); err != nil {
			fmt.Fprintf(env.Stderr, "shoal: %s %d: %v\n", place, number, err)
			failed = true
		}
	}
	var err error
	if len(o.addresses) > 0 {
		for i, text := range o.addresses {
			answer("address", i+1, text)
		}
	} else {
		in := interruptible(ctx, env.Stdin)
		defer in.Close()
		err = eachLine(in, func(number int, text string, more bool) error {
			if text != "" {
				answer("line", number, text)
			}
			if more {
				return nil
			}
			return out.Flush() // whoever types, or follows a log, waits for it
		})
	}
	if err = errors.Join(err, out.Flush()); err == nil && failed {
		return errQuiet
	}
	return err
}

// answer prints the line for one address, if there is one.
func (o *matchOptions) answer(out *bufio.Writer, text string) error {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		if len(text) > 64 {
			text = text[:64] + "…"
		}
		return fmt.Errorf("%q is not an IP address", text)
	}
	// What goes wrong in writing, a bufio.Writer tells in the next Flush.
	switch {
	case o.all:
		fmt.Fprintln(out, text, o.matches[0].Owner(addr))
	case o.handles(addr):
		fmt.Fprintln(out, text)
	}
	return nil
}

func (o *matchOptions) handles(addr netip.Addr) bool {
	for _, m := range o.matches {
		if !m.Matches(addr) {
			return false
		}
	}
	return true
}

// eachLine calls do for each line of r, without the white space around it;
// more says that the next has been read already. Of a line that is too long,
// do gets the beginning.
func eachLine(r io.Reader, do func(number int, text string, more bool) error) error {
	in := bufio.NewReaderSize(r, longestAddress)
	for number := 1; ; number++ {
		line, long, err := in.ReadLine()
		text := strings.TrimSpace(string(line))
		for long && err == nil {
			_, long, err = in.ReadLine()
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("line %d: read: %w", number, err)
		}
		if err := do(number, text, in.Buffered() > 0); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
}
