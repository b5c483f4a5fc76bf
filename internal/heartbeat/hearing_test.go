package heartbeat

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHeard(t *testing.T) {
	const eth1, eth2, all = 1, 2, 3
	names := []string{"eth1", "eth2"}
	peer := func(name string, on, both uint8) heardPeer { return heardPeer{name, on, both, all} }
	for _, tt := range []struct {
		name  string
		up    uint8
		peers []heardPeer
		want  []string // what each warning begins with
	}{
		{"alone by design", all, nil, nil},
		{"all well", all, []heardPeer{peer("beta", all, all), peer("gamma", all, all)}, nil},
		{"one node down", all, []heardPeer{peer("beta", all, all), peer("gamma", 0, 0)}, nil},
		{"nobody", all, []heardPeer{peer("beta", 0, 0)}, []string{"no other node is heard, though eth1 and eth2 has a link"}},
		{"nobody, one link", eth1, []heardPeer{peer("beta", 0, 0)}, []string{"eth2 has no link", "no other node is heard, though eth1 has a link"}},
		{"no link", 0, []heardPeer{peer("beta", 0, 0)}, []string{"eth1 has no link", "eth2 has no link"}},
		{"one interface only", all, []heardPeer{peer("beta", eth2, eth2), peer("gamma", eth2, eth2)}, []string{"no other node is heard on eth1, but on eth2: a switch"}},
		{"no dedicated one", all, []heardPeer{peer("beta", eth1, eth1)}, []string{"no other node is heard on eth2, but on eth1: another cable"}},
		{"one node on one interface", all, []heardPeer{peer("beta", all, all), peer("gamma", eth2, eth2)}, []string{"gamma is not heard on eth1, where others are: its port, or a switch"}},
		{"the other's link is down", all, []heardPeer{peer("beta", all, all), {"gamma", eth2, eth2, eth2}}, nil},
		{"mute", all, []heardPeer{peer("beta", all, eth2), peer("gamma", all, eth2)}, []string{"beta and gamma are heard on eth1, and cannot hear this node there"}},
	} {
		h := heard{interfaces: names, clusterOf: eth1, up: tt.up, peers: tt.peers}
		var got []string
		for i, line := range h.warnings() {
			if i < len(tt.want) && strings.HasPrefix(line, tt.want[i]) {
				line = tt.want[i]
			}
			got = append(got, line)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestHearing(t *testing.T) {
	var h hearing
	var got []string
	at := func(second int, lines ...string) {
		got = append(got, h.changes(time.Duration(second)*time.Second, lines)...)
	}
	at(1, "a")
	at(2)
	at(3, "a", "b")
	at(4, "a", "b")
	at(5, "b", "a")
	if diff := cmp.Diff([]string{"b", "a"}, h.lasting()); diff != "" {
		t.Error(diff)
	}
	at(6, "b", "a")
	at(7, "b")
	at(8, "b", "a")
	if diff := cmp.Diff([]string{"b", "a", "over: a"}, got); diff != "" {
		t.Error(diff)
	}
}
