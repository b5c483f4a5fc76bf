package heartbeat

import (
	"encoding/json"
	"net"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/member"
)

// pair returns both ends of the socket between an agent and its process.
func pair(t *testing.T) (*Process, *agentLink) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), fds[1]
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	link, err := openAgentLink(theirs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(theirs) })
	return &Process{conn: conn.(*net.UnixConn)}, link
}

// What the agent tells reaches the process as it was told.
func TestTell(t *testing.T) {
	p, link := pair(t)
	every := make([]int, cluster.MaxBuckets)
	for b := range every {
		every[b] = b
	}
	limit := uint16(0)
	view := member.ViewID{Epoch: 0x101, Digest: member.Digest{1, 15: 2}}
	order := member.Order{Kind: member.SetWeight, Node: 64, Weight: 1000}
	for _, tt := range []struct {
		name string
		tell func() error
		want command
	}{
		{"swept", func() error { return p.Swept(3) }, command{Swept: 3}},
		{"drained", func() error { return p.Drained(7, []int{0, 9, 17}) }, command{Drained: &drained{7, []byte{1, 2, 2}}}},
		{"drained, none", func() error { return p.Drained(7, nil) }, command{Drained: &drained{Epoch: 7}}},
		{"health", func() error { return p.Health(0) }, command{Health: &limit}},
		{"order", func() error { return p.Order(order) }, command{Order: &order}},
		{"frozen", func() error { return p.Frozen(3, view) }, command{Frozen: &frozen{view, 3}}},
	} {
		if err := tt.tell(); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, receiveCommand(t, link)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
	if err := p.Drained(1<<63, every); err != nil {
		t.Fatal(err)
	}
	if c := receiveCommand(t, link); c.Drained == nil || c.Drained.Epoch != 1<<63 || !cmp.Equal(c.Drained.buckets(), every) {
		t.Error("the largest table is told otherwise than it is")
	}
}

func receiveCommand(t *testing.T, link *agentLink) (c command) {
	t.Helper()
	data, _, errno := link.receive()
	if errno != 0 {
		t.Fatal(errno)
	}
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	return c
}
