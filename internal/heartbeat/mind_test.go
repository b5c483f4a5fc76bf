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

// testLink is a process's end of a socket, and what returns the next event that
// was told there; no kind: there is none.
func testLink(t *testing.T) (*agentLink, func() Event) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range pair {
		t.Cleanup(func() { unix.Close(fd) })
	}
	return &agentLink{fd: pair[0]}, func() (e Event) {
		b := make([]byte, maxCommand)
		if n, err := unix.Read(pair[1], b); err == nil {
			if err := json.Unmarshal(b[:n], &e); err != nil {
				t.Fatal(err)
			}
		}
		return e
	}
}

// An agent that lets go waits for word of it, also when the socket to the new
// process was lost on its way.
func TestHandOverWithoutSocket(t *testing.T) {
	link, told := testLink(t)
	p := &process{agent: link}
	p.obey(&command{HandOver: true}, -1)
	if e := told(); e.Kind != Kept || p.successor.since != 0 {
		t.Errorf("told %+v, successor since %v", e, p.successor.since)
	}
}

// A disk on which a failover would wait for half a lease is told of at once, and
// shown for a while.
func TestSlowDisk(t *testing.T) {
	const lease, now = 100 * time.Millisecond, 1000 * time.Second
	link, told := testLink(t)
	p := &process{agent: link, cluster: &cluster.Cluster{Lease: lease}}
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
