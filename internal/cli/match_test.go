package cli

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
)

// run runs a command line; arguments are separated by white space.
func run(t *testing.T, stdin, line string) (status int, stdout, stderr string) {
	t.Helper()
	return runArgs(t, stdin, strings.Fields(line)...)
}

func runArgs(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = Run(context.Background(), &Env{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs}, args)
	return status, out.String(), errs.String()
}

const (
	total = "--cluster-total-nodes "
	node  = "--cluster-local-node "
	mask  = "--cluster-local-nodemask "
	seed  = "--cluster-hash-seed "
	first = "match " + total + "2 " + node + "1 " + seed + "0xdeadbeef "
)

// The kernel's decisions for seed 0xdeadbeef and two nodes: 192.0.2.1 is
// node 2's, 192.0.2.2 node 1's, 2001:db8::1 node 2's by all its bits and
// node 1's by its first word.
func TestMatchAddresses(t *testing.T) {
	const clients = "192.0.2.1 192.0.2.2 2001:db8::5"
	for _, c := range []struct{ name, args, stdin, stdout, stderr string }{
		{name: "as in the manual page", args: first + clients, stdout: "192.0.2.2\n2001:db8::5\n"},
		{name: "inverted", args: "match " + total + "2 ! " + node + "1 " + seed + "0xdeadbeef " + clients,
			stdout: "192.0.2.1\n"},
		{name: "addresses first", args: "match " + clients + " " + total + "2 " + node + "2 " + seed + "0xdeadbeef",
			stdout: "192.0.2.1\n"},
		{name: "the kernel's way", args: first + "--ipv6-first-word " + clients, stdout: "192.0.2.2\n"},
		{name: "all", args: "match --all " + total + "2 " + seed + "0xdeadbeef " + clients,
			stdout: "192.0.2.1 2\n192.0.2.2 1\n2001:db8::5 1\n"},
		{name: "all, with a local node", args: first + "--all " + clients,
			stdout: "192.0.2.1 2\n192.0.2.2 1\n2001:db8::5 1\n"},
		{name: "all, from standard input", args: "match --all " + total + "2 " + seed + "0xdeadbeef",
			stdin: "192.0.2.1\n192.0.2.2", stdout: "192.0.2.1 2\n192.0.2.2 1\n"},
		{name: "lines", args: first, stdin: "192.0.2.1\n\n  192.0.2.2\t\r\n::ffff:192.0.2.2\n", stdout: "192.0.2.2\n::ffff:192.0.2.2\n"},
		{name: "no lines", args: first},
		{name: "none is ours", args: first + "192.0.2.1"},
		{name: "behind --", args: first + "-- 192.0.2.2", stdout: "192.0.2.2\n"},
		{name: "two matches: both must match",
			args: "match -m cluster " + total + "2 " + node + "1 " + seed + "0xdeadbeef -m cluster " +
				total + "2 ! " + node + "1 " + seed + "0xdeadbeef --ipv6-first-word " + clients,
			stdout: "2001:db8::5\n"},
		{name: "bad lines", args: first, stdin: "192.0.2.2\nfoo\n192.0.2.0/24\n192.0.2.2\n", stdout: "192.0.2.2\n192.0.2.2\n",
			stderr: "shoal: line 2: \"foo\" is not an IP address\nshoal: line 3: \"192.0.2.0/24\" is not an IP address\n"},
		{name: "bad argument", args: first + "192.0.2.2 192.0.2.256 192.0.2.2", stdout: "192.0.2.2\n192.0.2.2\n",
			stderr: "shoal: address 2: \"192.0.2.256\" is not an IP address\n"},
		{name: "a long line", args: first, stdin: strings.Repeat("x", 10000) + "\n192.0.2.2\n", stdout: "192.0.2.2\n",
			stderr: "shoal: line 1: \"" + strings.Repeat("x", 64) + "…\" is not an IP address\n"},
	} {
		status, stdout, stderr := run(t, c.stdin, c.args)
		want := 0
		if c.stderr != "" {
			want = exitFailed
		}
		if status != want || stdout != c.stdout || stderr != c.stderr {
			t.Errorf("%s: status %d, printed %q and %q; want %d, %q and %q", c.name, status, stdout, stderr, want, c.stdout, c.stderr)
		}
	}
}

// The table of options that the iptables program accepts and rejects.
func TestMatchOptions(t *testing.T) {
	for _, c := range []struct{ args, stderr string }{
		{total + "2 " + node + "1 " + seed + "0xdeadbeef", ""},
		{total + "2 " + seed + "1", node + "or " + strings.TrimSpace(mask) + " is missing"},
		{node + "1 " + seed + "1", total + "must be specified (1-32)"},
		{total + "2 " + node + "1", seed + "must be specified (0-4294967295)"},
		{total + "0 " + node + "1 " + seed + "1", total + `bad value "0", or out of range (1-32)`},
		{total + "33 " + node + "1 " + seed + "1", total + `bad value "33", or out of range (1-32)`},
		{total + "2 " + node + "0 " + seed + "1", node + `bad value "0", or out of range (1-32)`},
		{total + "2 " + node + "33 " + seed + "1", node + `bad value "33", or out of range (1-32)`},
		{total + "-2 " + node + "1 " + seed + "1", total + `bad value "-2", or out of range (1-32)`},
		{total + "2 " + node + "-1 " + seed + "1", node + `bad value "-1", or out of range (1-32)`},
		{total + "two " + node + "1 " + seed + "1", total + `bad value "two", or out of range (1-32)`},
		{total + "2.5 " + node + "1 " + seed + "1", total + `bad value "2.5", or out of range (1-32)`},
		{total + "1 " + node + "1 " + seed + "1", ""},
		{total + "2 " + node + "3 " + seed + "1", node + "3 is more than " + total + "2 (allowed: 1-2)"},
		{total + "2 " + mask + "4 " + seed + "1", mask + "0x4 is too big for " + total + "2 (allowed: 0x1-0x3)"},
		{total + "2 " + mask + "0 " + seed + "1", mask + `bad value "0", or out of range (0x1-0xffffffff)`},
		{total + "2 " + node + "1 " + mask + "1 " + seed + "1", mask + "cannot be used together with --cluster-local-node"},
		{total + "2 " + mask + "1 " + node + "1 " + seed + "1", node + "cannot be used together with --cluster-local-nodemask"},
		{total + "2 " + total + "2 " + node + "1 " + seed + "1", total + "can only be used once"},
		{total + "2 " + node + "1 " + node + "1 " + seed + "1", node + "can only be used once"},
		{total + "2 " + mask + "1 " + mask + "1 " + seed + "1", mask + "can only be used once"},
		{total + "2 " + node + "1 " + seed + "1 " + seed + "1", seed + "can only be used once"},
		{total + "2 ! " + node + "1 " + seed + "1", ""},
		{total + "2 ! " + mask + "1 " + seed + "1", ""},
		{"! " + total + "2 " + node + "1 " + seed + "1", total + "cannot be inverted"},
		{total + "2 " + node + "1 ! " + seed + "1", seed + "cannot be inverted"},
		{total + "02 " + node + "0x1 " + seed + "0XFFFFffff", ""},
		{total + "2 " + node + "1 " + seed + "4294967295", ""},
		{total + "2 " + node + "1 " + seed + "4294967296", seed + `bad value "4294967296", or out of range (0-4294967295)`},
		{total + "2 " + node + "1 " + seed + "-1", seed + `bad value "-1", or out of range (0-4294967295)`},
		{total + "2 " + node + "1 " + seed + "deadbeef", seed + `bad value "deadbeef", or out of range (0-4294967295)`},
		{total + "2 " + node + "1 " + seed + "1x", seed + `bad value "1x", or out of range (0-4294967295)`},
		{total + "2 " + node + "1 --cluster-hash-seed=", seed + `bad value "", or out of range (0-4294967295)`},
		{"--cluster-total-nodes=2 --cluster-hash-seed=1 --cluster-local-node=1", ""},
		{seed + "1 " + node + "1 " + total + "2", ""},
		{"-m cluster " + total + "2 " + node + "1 " + seed + "1 -m cluster " + total + "3 ! " + node + "1 " + seed + "2", ""},
		{total + "8 " + mask + "0x21 " + seed + "1", ""}, // which iptables rejects, wrongly
		{total + "8 " + mask + "0x40 " + seed + "1", ""},
	} {
		status, stdout, stderr := run(t, "", "match "+c.args)
		// As a name ahead of a message, an option is followed by a colon.
		name, rest, _ := strings.Cut(c.stderr, " ")
		want := "shoal: " + name + ": " + rest + "\nsee shoal match --help\n"
		if strings.HasPrefix(rest, "or ") {
			want = "shoal: " + c.stderr + "\nsee shoal match --help\n"
		}
		switch {
		case c.stderr == "" && (status != 0 || stderr != ""):
			t.Errorf("%s: status %d, %s", c.args, status, stderr)
		case c.stderr != "" && (status != exitUsage || stderr != want || stdout != ""):
			t.Errorf("%s: status %d, %q, want %q", c.args, status, stderr, want)
		}
	}
}

func TestMatchUsage(t *testing.T) {
	for args, want := range map[string]string{
		"match":                     total[:len(total)-1] + ": must be specified",
		first + "--colour":          `unknown option "--colour"`,
		first + "--cluster-local 1": `unknown option "--cluster-local"`,
		first + "! 192.0.2.1":       "! must be followed by",
		first + "-r":                "-r: requires a file name",
		first + "-r a -r b":         "-r: can only be used once",
		first + "-w out":            "-w: needs -r",
		first + "-r a 192.0.2.1":    "-r: cannot be used together with addresses",
		first + "-r a --all":        "--all: cannot be used together with -r",
		"match -r a -w b " + total + "2 " + seed + "1": "is missing",
		"match -m state": "-m: must be followed by cluster",
		first + "-m cluster --all " + first[len("match "):]: "take one match",
		first + "-m cluster " + total + "2 " + node + "1":   seed[:len(seed)-1] + ": must be specified",
	} {
		status, stdout, stderr := run(t, "", args)
		if status != exitUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d, %q; want %s", args, status, stderr, want)
		}
	}
}

func TestMatchHelp(t *testing.T) {
	for _, args := range []string{"match --help", "match -h", "help match", first + "--help"} {
		status, stdout, stderr := run(t, "", args)
		if status != 0 || stderr != "" {
			t.Errorf("%s: status %d, %s", args, status, stderr)
		}
		for _, want := range []string{"--cluster-total-nodes NUM", "[!] --cluster-local-nodemask", "source address", "Examples:", "-w node2.pcap"} {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s: no %q", args, want)
			}
		}
		if strings.Contains(stdout, "Flags:") {
			t.Errorf("%s: lists the flags of cobra", args)
		}
	}
}

// Whoever follows a log gets an answer per line, and can end it.
func TestMatchAnswersAndEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stdin, type_ := io.Pipe()
	printed, stdout := io.Pipe()
	var stderr bytes.Buffer
	status := make(chan int)
	go func() {
		status <- Run(ctx, &Env{Stdin: stdin, Stdout: stdout, Stderr: &stderr}, strings.Fields(first))
	}()
	for range 2 {
		io.WriteString(type_, "192.0.2.2\n")
		answer := make([]byte, len("192.0.2.2\n"))
		if _, err := io.ReadFull(printed, answer); err != nil || string(answer) != "192.0.2.2\n" {
			t.Fatalf("%q, %v", answer, err)
		}
	}
	cancel()
	if got := <-status; got != exitFailed || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("status %d, %q", got, stderr.String())
	}
	type_.Close()
}
