package lab

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A connection that its client ends is not broken; one that the server ends, or
// answers wrongly, is.
func TestConverse(t *testing.T) {
	for name, test := range map[string]struct {
		answers []string
		server  string
		want    string // in the error; "": none
	}{
		"until the end":   {[]string{"node2 0\n", "node2 1\n"}, "node2", ""},
		"ended by server": {[]string{"node2 0\n", ""}, "node2", "EOF"},
		"wrong answer":    {[]string{"node1 7\n"}, "", "wrong answer"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			near, far := net.Pipe()
			defer near.Close()
			go func() {
				defer far.Close()
				lines := bufio.NewReader(far)
				for i, answer := range test.answers {
					if _, err := lines.ReadString('\n'); err != nil || answer == "" {
						return
					}
					if i == len(test.answers)-1 {
						cancel()
					}
					far.Write([]byte(answer))
				}
			}()
			server, err := converse(ctx, near)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) || server != test.server {
				t.Errorf("%q, %v, want %q, %q", server, err, test.server, test.want)
			}
		})
	}
}

func TestConnectionsInWords(t *testing.T) {
	c := Connections{Opened: 33, Failed: 2, Broken: []Broken{
		{netip.MustParseAddr("10.77.1.9"), 2.5, "node2", short(&net.OpError{Op: "read", Err: net.ErrClosed})}}}
	var b strings.Builder
	c.write(&b)
	want := `33 long-lived TCP connections: 1 broken, 2 could not be opened
10.77.1.9        broken after 2.50 s; to node2: use of closed network connection
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}
