package config

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-net/shoal/internal/cluster"
)

func TestExample(t *testing.T) {
	example := withHealth(t)
	c, err := Parse("example.yaml", []byte(example), Options{Hostname: "alpha"})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Health.Checks) != 5 || c.Health.Checks[4].Weight != 20 {
		t.Errorf("got the checks %v", c.Health.Checks)
	}
	if c.Self != 1 || c.Mode != cluster.Gateway {
		t.Errorf("got %+v", c)
	}
	// What the example says of defaults.
	said := c.Interfaces[0]
	silent := strings.NewReplacer(
		"    l2: unicast\n", "", "    mac: 02:bf:c0:00:02:0a\n", "", "    attach: auto\n", "",
		"  buckets: 4096\n", "", "  affinity: client\n", "", "  ipv6: full\n", "", "  key: side\n", "",
		"action: drop\n", "", "lease: 100ms\n", "",
		"heartbeat: 20ms\n", "", "    weight: 100\n", "", "    serve: true\n", "", "    name: alpha\n", "",
		"flows: none\n", "", "drain: 1h\n", "", "all-unhealthy: keep\n", "",
		"    status: \"200-399\"\n", "", "    insecure: false\n", "", "    type: A\n", "",
		"    interval: 1s\n", "", "    timeout: 1s\n", "", "    rise: 2\n", "", "    fall: 3\n", "",
		"    on-failure: leave\n", "",
	).Replace(example)
	byDefault, err := Parse("example.yaml", []byte(silent), Options{Node: "1"})
	if err != nil {
		t.Fatal(err)
	}
	c.Nodes[0].Name = "node1"
	if diff := cmp.Diff(c, byDefault, equalAddr); diff != "" {
		t.Error(diff)
	}
	if said.MAC != byDefault.Interfaces[0].MAC {
		t.Errorf("default MAC %s, the example says %s", byDefault.Interfaces[0].MAC, said.MAC)
	}
}

// withHealth returns the example with its checks, a block that is commented out
// line by line: a file that somebody began with them would check what is not
// there.
func withHealth(t *testing.T) string {
	t.Helper()
	before, rest, _ := strings.Cut(Example, "\n#health:\n")
	block, after, found := strings.Cut(rest, "\n\n")
	if !found {
		t.Fatal("the example has no block of checks")
	}
	return before + "\nhealth:\n" + strings.TrimPrefix(strings.ReplaceAll("\n"+block, "\n#", "\n"), "\n") + "\n\n" + after
}

// TestExampleAlternatives checks the lines that are commented out without a
// space: each may stand in place of its key.
func TestExampleAlternatives(t *testing.T) {
	alternative := regexp.MustCompile(`(?m)^#([a-z-]+): .*$`)
	all := alternative.FindAllStringSubmatch(Example, -1)
	if len(all) != 7 {
		t.Errorf("found %q, want node, action and five of membership", all)
	}
	for _, line := range all {
		active := regexp.MustCompile(`(?m)^` + line[1] + `:.*\n`)
		text := active.ReplaceAllString(Example, "")
		text = strings.Replace(text, line[0], line[0][1:], 1)
		if _, err := Parse("example.yaml", []byte(text), Options{Hostname: "alpha"}); err != nil {
			t.Errorf("%s: %v", line[0], err)
		}
	}
}

func TestExampleHasEveryKey(t *testing.T) {
	example := withHealth(t)
	for name, keys := range map[string][]key{
		"": clusterKeys, "interfaces": interfaceKeys, "nodes": nodeKeys, "hash": hashKeys, "action": actionKeys, "health": checkKeys,
	} {
		// A map's part of the file ends where the next key of the file begins.
		part := example
		if name != "" {
			_, part, _ = strings.Cut(example, "\n"+name+":")
			if name == "action" {
				_, part, _ = strings.Cut(example, "\n#action:")
			}
			if end := regexp.MustCompile(`(?m)^[a-z]`).FindStringIndex(part); end != nil {
				part = part[:end[0]]
			}
		}
		for _, k := range keys {
			if !regexp.MustCompile(`(?m)(^#?|[ {])`+k.name+`: `).MatchString(part) && !strings.Contains(part, "\n"+k.name+":\n") {
				t.Errorf("the example says nothing of %s", join(name, k.name))
			}
		}
	}
}
