package heartbeat

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRefused(t *testing.T) {
	var r refused
	var got []string
	tell := func(now time.Duration, why refusal) {
		if r.add(now, why) {
			got = append(got, r.line(now, why, "beta (192.0.2.2)"))
		}
	}
	tell(time.Second, wrongKey)
	tell(2*time.Second, unlisted)
	for now := time.Second; now < 100*time.Second; now += time.Second {
		tell(now, wrongKey)
		tell(now, stale)
	}
	want := []string{
		"beta (192.0.2.2) sends with another key, or somebody pretends to: have one `key` on all nodes",
		"beta (192.0.2.2) is not among the nodes of this node's file",
		"beta (192.0.2.2) sends with another key, or somebody pretends to: have one `key` on all nodes (61 messages in 1m0s)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]uint64{"wrong_key": 100, "unlisted": 1, "stale": 99}, r.byName()); diff != "" {
		t.Error(diff)
	}
	if !r.recent(100*time.Second, wrongKey) || r.recent(100*time.Second, unlisted) || r.recent(time.Second, malformed) {
		t.Error("recent is wrong")
	}
}
