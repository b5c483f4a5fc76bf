package cli

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

func TestLabRefusesWrongOptions(t *testing.T) {
	for _, test := range []struct {
		args string
		want string
	}{
		{"--nodes 0", "--nodes: 0 is less than 1"},
		{"--nodes 65", "65 nodes: 1 to 64"},
		{"--nodes three", "three"},
		{"--clients -1", "--clients: -1 is less than 1"},
		{"--clients 901", "901 clients: 1 to 900"},
		{"--mode router", `--mode: "router" is none of backend, gateway`},
		{"--l2 broadcast", `--l2: "broadcast" is none of unicast, multicast, igmp`},
		{"--attach xdp", `--attach: "xdp" is none of auto, native, generic, tcx`},
		{"-o yaml", `--output: "yaml" is none of table, json`},
		{"--for -1s", "--for: -1s is less than 0"},
		{"--for 10", "10"},
		{"--name A", `lab name "A"`},
		{"--kill 2", `--kill: "2" does not say when`},
		{"--freeze 4@1s", "--freeze: freeze-both: there is no node 4"},
		{"--freeze 1,1@1s", "node 1 is named twice"},
		{"--unplug 1@2s-1s", "ends before it begins"},
		{"--partition 1,2@1s", "is one group"},
		{"--drain 2", `--drain: "2" does not say when`},
		{"--undrain 4@1s", "--undrain: undrain: there is no node 4"},
		{"--weight 2@1s", `--weight: "2@1s" does not say which weight`},
		{"--weight 2:1001@1s", "--weight: weight: 1001 is not from 0 to 1000"},
		{"node1", "node1"},
		{"shell", "arg"},
		{"clean lab", "lab"},
	} {
		var out, errs bytes.Buffer
		env := &Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}
		status := Run(context.Background(), env, append([]string{"lab"}, strings.Fields(test.args)...))
		if status != exitUsage || !strings.Contains(errs.String(), test.want) || out.Len() > 0 {
			t.Errorf("shoal lab %s: status %d, %q, want %d and %q", test.args, status, errs.String(), exitUsage, test.want)
		}
	}
}
