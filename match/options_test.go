package match_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/shoal-net/shoal/match"
)

// Short names of the options, for tables.
var longNames = strings.NewReplacer("-T", "--cluster-total-nodes", "-L", "--cluster-local-node",
	"-K", "--cluster-local-nodemask", "-S", "--cluster-hash-seed", "-6", "--ipv6-first-word")

// split cuts at single spaces; ” is an empty argument and _ a space in one.
func split(line string) []string {
	args := strings.Split(line, " ")
	for i, arg := range args {
		args[i] = longNames.Replace(strings.ReplaceAll(strings.ReplaceAll(arg, "''", ""), "_", " "))
	}
	return args
}

var accepted = []struct{ args, prints string }{
	{"-T 2 -L 1 -S 0xdeadbeef", "-K 0x00000001 -T 2 -S 0xdeadbeef"},
	{"-S 0xdeadbeef -L 1 -T 2", "-K 0x00000001 -T 2 -S 0xdeadbeef"},
	{"-T=2 -L=1 -S=0xdeadbeef", "-K 0x00000001 -T 2 -S 0xdeadbeef"},
	{"-T=2 ! -L=1 -S 1", "! -K 0x00000001 -T 2 -S 0x00000001"},
	{"-T 1 -L 1 -S 0", "-K 0x00000001 -T 1 -S 0x00000000"},
	{"-T 2 ! -L 1 -S 1", "! -K 0x00000001 -T 2 -S 0x00000001"},
	{"! -K 2 -T 2 -S 1", "! -K 0x00000002 -T 2 -S 0x00000001"},
	{"-T 2 -K 3 -S 1", "-K 0x00000003 -T 2 -S 0x00000001"},
	{"-T 32 -L 32 -S 1", "-K 0x80000000 -T 32 -S 0x00000001"},
	{"-T 8 -L 7 -S 1", "-K 0x00000040 -T 8 -S 0x00000001"},
	{"-T 037 -L 0X1 -S 037777777777", "-K 0x00000001 -T 31 -S 0xffffffff"},
	{"-T 002 -L 1 -S 4294967295", "-K 0x00000001 -T 2 -S 0xffffffff"},
	{"-T +2 -L _1 -S _+00", "-K 0x00000001 -T 2 -S 0x00000000"},
	{"--cluster-tot 2 --cluster-local-nodem 1 --cluster-h=1", "-K 0x00000001 -T 2 -S 0x00000001"},
	{"-6 -T 2 -L 1 -S 1", "-K 0x00000001 -T 2 -S 0x00000001 -6"},
	// The iptables program wrongly refuses these.
	{"-T 8 -K 0x21 -S 1", "-K 0x00000021 -T 8 -S 0x00000001"},
	{"-T 8 -K 0x40 -S 1", "-K 0x00000040 -T 8 -S 0x00000001"},
	{"-T 32 -K 0xffffffff -S 1", "-K 0xffffffff -T 32 -S 0x00000001"},
}

func TestParseAccepts(t *testing.T) {
	for _, c := range accepted {
		m, rest, err := match.Parse(split(c.args))
		if err != nil || len(rest) != 0 {
			t.Errorf("%s: rest %q, error %v", c.args, rest, err)
			continue
		}
		if want := longNames.Replace(c.prints); m.String() != want {
			t.Errorf("%s: printed as\n%s, want\n%s", c.args, m, want)
		}
	}
}

var rejected = []struct{ args, message string }{
	{"-T 2 -S 1", "--cluster-local-node or --cluster-local-nodemask is missing"},
	{"-L 1 -S 1", "-T: must be specified (1-32)"},
	{"-T 2 -L 1", "-S: must be specified (0-4294967295)"},
	{"-T 0 -L 1 -S 1", `-T: bad value "0", or out of range (1-32)`},
	{"-T 33 -L 1 -S 1", `-T: bad value "33", or out of range (1-32)`},
	{"-T -2 -L 1 -S 1", `-T: bad value "-2", or out of range (1-32)`},
	{"-T two -L 1 -S 1", `-T: bad value "two", or out of range (1-32)`},
	{"-T 2.5 -L 1 -S 1", `-T: bad value "2.5", or out of range (1-32)`},
	{"-T 4294967298 -L 1 -S 1", `-T: bad value "4294967298", or out of range (1-32)`},
	{"-T 18446744073709551618 -L 1 -S 1", `-T: bad value "18446744073709551618", or out of range (1-32)`},
	{"-T 2 -L 0 -S 1", `-L: bad value "0", or out of range (1-32)`},
	{"-T 2 -L 33 -S 1", `-L: bad value "33", or out of range (1-32)`},
	{"-T 2 -L -1 -S 1", `-L: bad value "-1", or out of range (1-32)`},
	{"-T 2 -L one -S 1", `-L: bad value "one", or out of range (1-32)`},
	{"-T 2 -L 3 -S 1", "-L: 3 is more than -T 2 (allowed: 1-2)"},
	{"-L 3 -S 1 -T 2", "-L: 3 is more than -T 2 (allowed: 1-2)"},
	{"-T 2 -K 4 -S 1", "-K: 0x4 is too big for -T 2 (allowed: 0x1-0x3)"},
	{"-T 31 -K 0x80000000 -S 1", "-K: 0x80000000 is too big for -T 31 (allowed: 0x1-0x7fffffff)"},
	{"-T 32 -K 0x100000000 -S 1", `-K: bad value "0x100000000", or out of range (0x1-0xffffffff)`},
	{"-T 2 -K 0 -S 1", `-K: bad value "0", or out of range (0x1-0xffffffff)`},
	{"-T 2 -L 1 -K 1 -S 1", "-K: cannot be used together with -L"},
	{"-T 2 -K 1 -L 1 -S 1", "-L: cannot be used together with -K"},
	{"-T 2 -T 2 -L 1 -S 1", "-T: can only be used once"},
	{"-T 2 -L 1 -L 1 -S 1", "-L: can only be used once"},
	{"-T 2 -K 1 -K 1 -S 1", "-K: can only be used once"},
	{"-T 2 -L 1 -S 1 -S 1", "-S: can only be used once"},
	{"-T 2 -L 1 -S 1 -6 -6", "-6: can only be used once"},
	{"! -T 2 -L 1 -S 1", "-T: cannot be inverted"},
	{"-T 2 -L 1 ! -S 1", "-S: cannot be inverted"},
	{"-T 2 -L 1 -S 1 ! -6", "-6: cannot be inverted"},
	{"-T 2 -L 1 -S 4294967296", `-S: bad value "4294967296", or out of range (0-4294967295)`},
	{"-T 2 -L 1 -S -1", `-S: bad value "-1", or out of range (0-4294967295)`},
	{"-T 2 -L 1 -S deadbeef", `-S: bad value "deadbeef", or out of range (0-4294967295)`},
	{"-T 2 -L 1 -S 1x", `-S: bad value "1x", or out of range (0-4294967295)`},
	{"-T 2 -L 1 -S ''", `-S: bad value "", or out of range (0-4294967295)`},
	{"-T 2 -L 1 -S 08", `-S: bad value "08", or out of range (0-4294967295)`},
	{"-T 2 -L 1 -S 0x", `-S: bad value "0x", or out of range (0-4294967295)`},
	{"-T 2 -L 1 -S 0b1", `-S: bad value "0b1", or out of range (0-4294967295)`},
	{"-T 2 -L 1 -S 1_", `-S: bad value "1 ", or out of range (0-4294967295)`},
	{"-T= 2 -L 1 -S 1", `-T: bad value "", or out of range (1-32)`},
	{"-T ! 2 -L 1 -S 1", `-T: bad value "!", or out of range (1-32)`},
	{"-T 2 -S -L 1", `-S: bad value "-L", or out of range (0-4294967295)`},
	{"-T 2 -L 1 -S", "-S: requires a value (0-4294967295)"},
	{"-T 2 -L 1 -S 1 -6=yes", "-6: takes no value"},
	{"-T 2 ! ! -L 1 -S 1", "! must be followed by -L or -K"},
	{"-T 2 ! 192.0.2.1 -L 1 -S 1", "! must be followed by -L or -K"},
	{"-T 2 -L 1 -S 1 !", "! must be followed by -L or -K"},
}

func TestParseRejects(t *testing.T) {
	for _, c := range rejected {
		m, _, err := match.Parse(split(c.args))
		if err == nil {
			t.Errorf("%s: accepted as %s", c.args, m)
		} else if want := longNames.Replace(c.message); err.Error() != want {
			t.Errorf("%s:\n%s, want\n%s", c.args, err, want)
		}
	}
}

func TestParseRest(t *testing.T) {
	for args, want := range map[string][]string{
		"-T 2 -L 1 -S 1 192.0.2.1":         {"192.0.2.1"},
		"-i eth1 -T 2 x -L 1 -S 1 -w":      {"-i", "eth1", "x", "-w"},
		"-T 2 -L 1 -S 1 -- ! -T":           {"--", "!", "--cluster-total-nodes"},
		"--cluster-local 1 -T 2 -L 1 -S 1": {"--cluster-local", "1"},
		"--cluster- 1 --c -T 2 -L 1 -S 1":  {"--cluster-", "1", "--c"},
	} {
		_, rest, err := match.Parse(split(args))
		if err != nil {
			t.Errorf("%s: %v", args, err)
		}
		if d := cmp.Diff(want, rest); d != "" {
			t.Errorf("%s: rest (-want +got)\n%s", args, d)
		}
	}
}

func TestOptionsWithoutLocalNode(t *testing.T) {
	var o match.Options
	for _, arg := range []string{"--cluster-total-nodes=5", "--cluster-hash-seed=1"} {
		if n, err := o.Take([]string{arg}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	m, err := o.Match()
	if !errors.Is(err, match.ErrNoLocalNode) || m != (match.Match{TotalNodes: 5, Seed: 1}) {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestPrintedFormParses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := anyMatch().Draw(t, "match")
		again, rest, err := match.Parse(strings.Fields(m.String()))
		if err != nil || len(rest) != 0 || again != m {
			t.Fatalf("%s: %+v, %q, %v", m, again, rest, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, c := range accepted {
		f.Add(strings.Join(split(c.args), "\x00"))
	}
	for _, c := range rejected {
		f.Add(strings.Join(split(c.args), "\x00"))
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\x00")
		m, rest, err := match.Parse(args)
		if err != nil {
			if !strings.Contains(err.Error(), "--cluster-") && !strings.Contains(err.Error(), "--ipv6") {
				t.Errorf("%q: the message names no option: %v", args, err)
			}
			return
		}
		if err := m.Validate(); err != nil {
			t.Errorf("%q: accepted, but %v", args, err)
		}
		again, more, err := match.Parse(strings.Fields(m.String()))
		if err != nil || len(more) != 0 || again != m {
			t.Errorf("%q: printed as %s, which is read as %+v, %q, %v", args, m, again, more, err)
		}
		if len(rest) > len(args)-3 {
			t.Errorf("%q: rest %q is too much", args, rest)
		}
	})
}
