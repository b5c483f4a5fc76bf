package match

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The options of the match, by their names in iptables, and one that iptables
// does not have.
const (
	optTotalNodes = "--cluster-total-nodes"
	optLocalNode  = "--cluster-local-node"
	optNodeMask   = "--cluster-local-nodemask"
	optSeed       = "--cluster-hash-seed"
	optFirstWord  = "--ipv6-first-word"

	optPrefix = "--cluster-" // of the names that may be abbreviated
)

var optNames = []string{optTotalNodes, optLocalNode, optNodeMask, optSeed, optFirstWord}

// ErrNoLocalNode says that a match names no node that it stands for. Index and
// Owner need none.
var ErrNoLocalNode = errors.New(optLocalNode + " or " + optNodeMask + " is missing")

// Options collects the options of one match from a command line that has other
// arguments too. The zero value is ready to use.
type Options struct {
	m         Match
	localNode int // as given, until TotalNodes is known
	given     map[string]bool
}

// Parse reads the options of a match from a command line, as the iptables
// program does: in any order, "--option value" or "--option=value", names cut
// short where that is not ambiguous, "!" as an argument of its own before
// --cluster-local-node or --cluster-local-nodemask, numbers in decimal,
// hexadecimal (0x) or octal (0). --ipv6-first-word is understood as well.
//
// Arguments that are not the match's, and all from "--" on, are returned in
// rest in their order. Errors name the option and what it allows.
func Parse(args []string) (m Match, rest []string, err error) {
	var o Options
	for len(args) > 0 && args[0] != "--" {
		taken, err := o.Take(args)
		if err != nil {
			return Match{}, nil, err
		}
		if taken == 0 {
			rest = append(rest, args[0])
			taken = 1
		}
		args = args[taken:]
	}
	m, err = o.Match()
	if err != nil {
		return Match{}, nil, err
	}
	return m, append(rest, args...), nil
}

// Take takes one option, with its "!" and its value, from the front of args
// and returns how many arguments that were: none if args does not begin with
// an option of the match.
func (o *Options) Take(args []string) (taken int, err error) {
	if len(args) == 0 {
		return 0, nil
	}
	inverted := args[0] == "!"
	if inverted {
		taken, args = 1, args[1:]
	}
	name, value, hasValue := "", "", false
	if len(args) > 0 {
		name, value, hasValue = strings.Cut(args[0], "=")
		name = fullName(name)
	}
	switch {
	case name == "" && !inverted:
		return 0, nil
	case name == "":
		return 0, fmt.Errorf("! must be followed by %s or %s", optLocalNode, optNodeMask)
	case inverted && name != optLocalNode && name != optNodeMask:
		return 0, fmt.Errorf("%s: cannot be inverted", name)
	case name == optFirstWord && hasValue:
		return 0, fmt.Errorf("%s: takes no value", name)
	}
	taken++
	if name != optFirstWord && !hasValue {
		if len(args) < 2 {
			return 0, fmt.Errorf("%s: requires a value (%s)", name, allowed(name))
		}
		value = args[1]
		taken++
	}
	return taken, o.set(name, value, inverted)
}

// fullName returns the option that name is, or is short for; "" if it is none,
// or could be several.
func fullName(name string) string {
	var found string
	for _, full := range optNames {
		switch {
		case name == full:
			return full
		case len(name) > len(optPrefix) && strings.HasPrefix(full, name) && strings.HasPrefix(full, optPrefix):
			if found != "" {
				return ""
			}
			found = full
		}
	}
	return found
}

func (o *Options) set(name, value string, inverted bool) error {
	if o.given[name] {
		return fmt.Errorf("%s: can only be used once", name)
	}
	if other := map[string]string{optLocalNode: optNodeMask, optNodeMask: optLocalNode}[name]; o.given[other] {
		return fmt.Errorf("%s: cannot be used together with %s", name, other)
	}
	if o.given == nil {
		o.given = map[string]bool{}
	}
	o.given[name] = true
	if name == optFirstWord {
		o.m.IPv6FirstWord = true
		return nil
	}
	first, last := limits(name)
	n, ok := parseNumber(value)
	if !ok || n < first || n > last {
		return fmt.Errorf("%s: bad value %q, or out of range (%s)", name, value, allowed(name))
	}
	switch name {
	case optTotalNodes:
		o.m.TotalNodes = int(n)
	case optSeed:
		o.m.Seed = uint32(n)
	case optLocalNode:
		o.localNode, o.m.NodeMask = int(n), 1<<(n-1)
		o.m.Inverted = inverted
	case optNodeMask:
		o.m.NodeMask = uint32(n)
		o.m.Inverted = inverted
	}
	return nil
}

// limits returns the smallest and the largest value of an option.
func limits(name string) (first, last uint64) {
	switch name {
	case optSeed:
		return 0, math.MaxUint32
	case optNodeMask:
		return 1, math.MaxUint32
	default:
		return 1, MaxNodes
	}
}

func allowed(name string) string {
	first, last := limits(name)
	if name == optNodeMask {
		return fmt.Sprintf("%#x-%#x", first, last)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

// parseNumber reads a number as strtoul with base 0 does (leading white space
// and a plus sign included) and the iptables program with it: no minus sign,
// nothing behind the number.
func parseNumber(s string) (n uint64, ok bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	s = strings.TrimPrefix(s, "+")
	base := 10
	switch {
	case strings.HasPrefix(s, "0x"), strings.HasPrefix(s, "0X"):
		s, base = s[2:], 16
	case strings.HasPrefix(s, "0"):
		base = 8
	}
	n, err := strconv.ParseUint(s, base, 64)
	return n, err == nil
}

// Match returns the match, once all options were taken. Where all that is
// wrong is that no local node was given, it returns the rest of the match with
// ErrNoLocalNode.
func (o *Options) Match() (Match, error) {
	for _, name := range []string{optTotalNodes, optSeed} {
		if !o.given[name] {
			return Match{}, fmt.Errorf("%s: must be specified (%s)", name, allowed(name))
		}
	}
	if o.localNode > o.m.TotalNodes {
		return Match{}, fmt.Errorf("%s: %d is more than %s %d (allowed: 1-%d)",
			optLocalNode, o.localNode, optTotalNodes, o.m.TotalNodes, o.m.TotalNodes)
	}
	return o.m, o.m.Validate()
}

// Empty reports whether no option was taken yet.
func (o *Options) Empty() bool { return len(o.given) == 0 }
