//go:build privileged

package match_test

import (
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/shoal-net/shoal/match"
)

// TestFrontEnd compares Parse and String with the iptables program: the tables
// of TestParse, and random options.
func TestFrontEnd(t *testing.T) {
	enterNamespace(t)
	var lines [][]string
	for _, c := range accepted {
		lines = append(lines, split(c.args))
	}
	for _, c := range rejected {
		lines = append(lines, split(c.args))
	}
	rnd := rand.New(rand.NewPCG(3, 3))
	for range 150 {
		lines = append(lines, randomOptions(rnd))
	}
	compared, both := 0, 0
	for _, args := range lines {
		m, rest, err := match.Parse(args)
		if strings.Contains(strings.Join(args, " "), "--ipv6") || len(rest) != 0 {
			continue
		}
		if err == nil && m.NodeMask > 32 && givesMask(args) {
			continue // the program bounds masks by 32, wrongly
		}
		compared++
		printed, accepts := iptables(t, args)
		switch {
		case accepts != (err == nil):
			t.Errorf("%q: iptables accepts: %v; Parse: %v", args, accepts, err)
		case accepts && m.String() != printed:
			t.Errorf("%q: iptables prints\n%s, String\n%s", args, printed, m)
		case accepts:
			both++
		}
	}
	t.Logf("%d lines compared, %d of them accepted", compared, both)
	if compared < 150 || both < 30 {
		t.Error("too few to compare")
	}
}

func givesMask(args []string) bool {
	return strings.Contains(strings.Join(args, " "), "--cluster-local-nodem")
}

// iptables returns what the program prints of a rule with these options.
func iptables(t *testing.T, args []string) (printed string, accepts bool) {
	t.Helper()
	run := func(args ...string) (string, error) {
		out, err := exec.Command("iptables", append([]string{"-t", "mangle"}, args...)...).Output()
		return string(out), err
	}
	if _, err := run("-F"); err != nil {
		t.Fatalf("run iptables (Debian package iptables): %v", err)
	}
	_, err := run(append([]string{"-A", "PREROUTING", "-m", "cluster"}, args...)...)
	rules, listErr := run("-S", "PREROUTING")
	if listErr != nil {
		t.Fatal(listErr)
	}
	_, printed, found := strings.Cut(rules, "-m cluster ")
	if found != (err == nil) {
		t.Fatalf("%q: iptables says %v and lists %q", args, err, rules)
	}
	return strings.TrimSpace(printed), found
}

// randomOptions returns options that are nearly right.
func randomOptions(rnd *rand.Rand) []string {
	pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
	node := func() string { return pick("1", "2", "03", "0x4", "5", "31", "32", "33", "0", "-1", "x", "0x", "+1") }
	groups := []string{
		"-T " + pick("1", "2", "5", "010", "0x20", "32", "8", "33", "0"),
		"-S " + pick("0", "1", "0xdeadbeef", "4294967295", "4294967296", "017", "09", "-1", "1_", "_1"),
		pick("", "", "", "! ") + pick("-L ", "-K ", "-L=", "-K=") + node(),
		pick("", "", "", "", "", "", "! ") + pick("", "", "", "", "-T 2", "-S 2", "-L 1", "-K 1"),
	}
	rnd.Shuffle(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
	var args []string
	for _, g := range groups {
		if g = strings.TrimSpace(g); g != "" {
			args = append(args, split(g)...)
		}
	}
	return args
}
