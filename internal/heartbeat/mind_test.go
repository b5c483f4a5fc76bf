package heartbeat

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/member"
	"golang.org/x/sys/unix"
)

// A disk on which a failover would wait for half a lease is told of at once, and
// shown for a while.
func TestSlowDisk(t *testing.T) {
	const lease, now = 100 * time.Millisecond, 1000 * time.Second
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range pair {
		defer unix.Close(fd)
	}
	p := &process{agent: &agentLink{fd: pair[0]}, cluster: &cluster.Cluster{Lease: lease}}
	told := func() (e Event) {
		b := make([]byte, maxCommand)
		if n, err := unix.Read(pair[1], b); err == nil {
			if err := json.Unmarshal(b[:n], &e); err != nil {
				t.Fatal(err)
			}
		}
		return e
	}
	shown := func(at time.Duration) bool {
		return strings.Contains(strings.Join(p.warnings(&member.Status{}, at), "\n"), "took 228ms to be on disk")
	}
	p.mindDisk(now, lease/2)
	if e := told(); e.Kind != "" || shown(now) {
		t.Errorf("told of half a lease: %+v", e)
	}
	p.mindDisk(now, 228*time.Millisecond)
	if e := told(); e.Kind != Warning || !strings.Contains(e.Text, "took 228ms to be on disk") {
		t.Errorf("told: %+v", e)
	}
	if !shown(now+diskMemory-1) || shown(now+diskMemory) {
		t.Error("shown for too short or too long")
	}
}
