package cluster

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestCheckString(t *testing.T) {
	for _, tt := range []struct {
		check Check
		want  string
	}{
		{Check{Target: netip.MustParseAddrPort("192.0.2.10:80")}, "tcp 192.0.2.10:80"},
		{Check{Kind: CheckHTTP, URL: "https://www.example.com/health"}, "https://www.example.com/health"},
		{Check{Kind: CheckDNS, Name: "example.com.", Type: TypeAAAA, Target: netip.MustParseAddrPort("[2001:db8::10]:53")},
			"dns example.com. AAAA at [2001:db8::10]:53"},
		{Check{Kind: CheckExec, Command: []string{"/bin/test", "-e", "/run/ready"}}, "exec /bin/test -e /run/ready"},
	} {
		if got := tt.check.String(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestCheckEqual(t *testing.T) {
	check := Check{Kind: CheckHTTP, URL: "http://192.0.2.10/", Status: []Range{{200, 299}}, Command: []string{"a"}}
	same := check
	same.Status, same.Command = []Range{{200, 299}}, []string{"a"}
	if !check.Equal(same) {
		t.Error("two checks of the same words differ")
	}
	for name, change := range map[string]func(*Check){
		"kind":     func(c *Check) { c.Kind = CheckTCP },
		"target":   func(c *Check) { c.Target = netip.MustParseAddrPort("192.0.2.10:80") },
		"url":      func(c *Check) { c.URL += "health" },
		"status":   func(c *Check) { c.Status = nil },
		"body":     func(c *Check) { c.Body = "ok" },
		"insecure": func(c *Check) { c.Insecure = true },
		"name":     func(c *Check) { c.Name = "example.com" },
		"type":     func(c *Check) { c.Type = TypeNS },
		"command":  func(c *Check) { c.Command = []string{"b"} },
		"interval": func(c *Check) { c.Interval = time.Second },
		"timeout":  func(c *Check) { c.Timeout = time.Second },
		"rise":     func(c *Check) { c.Rise = 1 },
		"fall":     func(c *Check) { c.Fall = 1 },
		"weight":   func(c *Check) { c.Weight = 1 },
	} {
		other := check
		if change(&other); check.Equal(other) {
			t.Errorf("a check with another %s is said to be the same", name)
		}
	}
}

func TestKeeps(t *testing.T) {
	for _, tt := range []struct {
		mode       Mode
		handover   Handover
		flows, udp bool
	}{
		{Backend, Handover{Drain: time.Hour}, true, false},
		{Backend, Handover{Drain: time.Hour, UDP: UDPKeep}, true, true},
		{Backend, Handover{UDP: UDPKeep}, false, false},
		{Gateway, Handover{Drain: time.Hour}, false, false},
		{Gateway, Handover{Drain: time.Hour, Flows: FlowsConntrack}, true, true},
		{Gateway, Handover{Flows: FlowsConntrack}, false, false},
	} {
		c := Cluster{Mode: tt.mode, Handover: tt.handover}
		if c.KeepsFlows() != tt.flows || c.KeepsUDP() != tt.udp {
			t.Errorf("%s, %+v: keeps flows: %t, UDP: %t", tt.mode, tt.handover, c.KeepsFlows(), c.KeepsUDP())
		}
	}
}

// The description goes from process to process as JSON.
func TestHealthJSON(t *testing.T) {
	want := Health{AllUnhealthy: UnhealthyDrop, Checks: []Check{
		{Target: netip.MustParseAddrPort("[fe80::10%eth1]:80"), Interval: time.Second, Weight: 20},
		{Kind: CheckDNS, Name: "example.com.", Type: TypeSRV},
		{Kind: CheckExec, Command: []string{"/bin/true"}},
	}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Health
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.AllUnhealthy != want.AllUnhealthy || !slices.EqualFunc(got.Checks, want.Checks, Check.Equal) {
		t.Errorf("got %+v from %s", got, text)
	}
}
