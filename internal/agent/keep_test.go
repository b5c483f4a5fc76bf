package agent

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/shoal-net/shoal/internal/cluster"
)

func TestJudgeTracking(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, tt := range []struct {
		name    string
		flows   cluster.Flows
		has     []netip.Addr
		v4, v6  bool
		warning string
		err     string
	}{
		{"kept and tracked", cluster.FlowsConntrack, []netip.Addr{v4, v6}, true, true, "", ""},
		{"kept, one family in use", cluster.FlowsConntrack, []netip.Addr{v4}, true, false, "", ""},
		{"kept, one family not tracked", cluster.FlowsConntrack, []netip.Addr{v4, v6}, true, false, "", "IPv6 connections are not tracked"},
		{"kept, the other", cluster.FlowsConntrack, []netip.Addr{v4, v6}, false, true, "", "IPv4 connections are not tracked"},
		{"not kept, not tracked", cluster.FlowsNone, []netip.Addr{v4, v6}, false, false, "", ""},
		{"not kept, but tracked", cluster.FlowsNone, []netip.Addr{v4, v6}, false, true, "flows: none, but", ""},
	} {
		c := &cluster.Cluster{Mode: cluster.Gateway, Interfaces: []cluster.Interface{{Name: "eth1"}, {Name: "eth2", Addresses: tt.has}}}
		c.Handover.Flows = tt.flows
		warning, err := judgeTracking(c, tt.v4, tt.v6)
		if (warning == "") != (tt.warning == "") || !strings.HasPrefix(warning, tt.warning) {
			t.Errorf("%s: warning %q", tt.name, warning)
		}
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: error %v", tt.name, err)
		}
	}
}
