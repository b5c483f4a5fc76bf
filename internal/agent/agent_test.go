package agent

import (
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/heartbeat"
)

func TestNewPaths(t *testing.T) {
	for name, ok := range map[string]bool{
		"web": true, "match-eth1": true, "0": true,
		"": false, "-a": false, "a/b": false, "..": false, "a.b": false, "A": false, strings.Repeat("a", 64): false,
	} {
		if _, err := NewPaths("host", name); (err == nil) != ok {
			t.Errorf("cluster %q: %v", name, err)
		}
		if _, err := NewPaths(name, "web"); (err == nil) != ok {
			t.Errorf("instance %q: %v", name, err)
		}
	}
}

func TestRunning(t *testing.T) {
	start := ownStart(t)
	if s := (&State{PID: os.Getpid(), StartTime: start}); !s.Running() || s.gone() {
		t.Error("this process is said not to run")
	}
	if s := (&State{PID: os.Getpid(), StartTime: start + 1}); s.Running() || !s.gone() {
		t.Error("a later process of the same id is taken for the agent")
	}
	child := exec.Command("true")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := readProcess(child.Process.Pid) // at the worst a zombie
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	if s := (&State{PID: child.Process.Pid, StartTime: p.start}); s.Running() || !s.gone() {
		t.Error("a process that has ended is said to run")
	}
}

func ownStart(t *testing.T) uint64 {
	t.Helper()
	p, err := readProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return p.start
}

func TestDescribe(t *testing.T) {
	c := &cluster.Cluster{
		Name: "web", Self: 2,
		Nodes:      []cluster.Node{{ID: 1, Name: "alpha"}, {ID: 2, Name: "beta"}},
		Interfaces: []cluster.Interface{{Name: "eth1", L2: cluster.IGMP}, {Name: "eth2", Side: cluster.ServerSide}},
		Hash:       cluster.Hash{Buckets: 4},
	}
	owned := []dataplane.State{dataplane.Foreign, dataplane.Foreign, dataplane.Owned, dataplane.Draining}
	var counters dataplane.Counters
	counters[dataplane.AlarmConflict] = 3
	before := &dataplane.Snapshot{States: owned, BucketPackets: []uint64{1, 1, 1, 1}}
	after := &dataplane.Snapshot{
		Lease: 50 * time.Millisecond, LeaseEpoch: 2, TableEpoch: 2,
		States: owned, BucketPackets: []uint64{1, 2, 5, 9},
		Interfaces: map[string]dataplane.InterfaceSnapshot{
			"eth1": {Attached: true, Mode: cluster.AttachTCX, Counters: counters},
		},
	}
	start := ownStart(t)
	got, err := describe(&State{PID: os.Getpid(), StartTime: start, Cluster: c}, nil, before, after, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	want := &Status{
		Cluster: "web", Mode: "backend", Node: 2, NodeName: "beta",
		Agent:   AgentStatus{PID: os.Getpid(), Running: true},
		Lease:   LeaseStatus{Valid: true, LeftMS: 50, Epoch: 2, TableEpoch: 2, View: "2", TableView: "2"},
		Buckets: BucketStatus{Total: 4, Owned: 1, Draining: 1, Foreign: 2},
		Nodes: []NodeStatus{
			{ID: 1, Name: "alpha", Buckets: 2, Packets: 3, Rate: 0.5},
			{ID: 2, Name: "beta", Buckets: 2, Packets: 14, Rate: 6},
		},
		Interfaces: []InterfaceStatus{
			{
				Name: "eth1", Side: "client", Attached: true, Mode: "tcx", L2: "igmp", MAC: "00:00:00:00:00:00",
				Counters: map[string]uint64{"alarm_conflict": 3}, Rates: map[string]float64{"alarm_conflict": 1.5},
			},
			{
				Name: "eth2", Side: "server", L2: "unicast", MAC: "00:00:00:00:00:00",
				Counters: map[string]uint64{}, Rates: map[string]float64{},
			},
		},
		Warnings: []string{
			"eth1: another system claimed a cluster address 3 times with a MAC that is not the cluster's",
			"eth2: no program is attached; is the interface there?",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Packets count for whom the buckets are, which the file does not tell where the
// nodes agree on that among themselves.
func TestDescribeMembers(t *testing.T) {
	at := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	c := &cluster.Cluster{
		Name: "web", Self: 1, Hash: cluster.Hash{Buckets: 4},
		Nodes: []cluster.Node{{ID: 1, Name: "alpha", Addresses: at}, {ID: 2, Name: "beta", Addresses: at}},
	}
	before := &dataplane.Snapshot{States: make([]dataplane.State, 4), BucketPackets: []uint64{1, 1, 1, 1}}
	after := &dataplane.Snapshot{States: make([]dataplane.State, 4), BucketPackets: []uint64{1, 2, 5, 9}}
	for _, test := range []struct {
		name    string
		members *heartbeat.Status
		want    []NodeStatus
	}{
		{"a view", &heartbeat.Status{Owners: []byte{2, 1, 2, 1}}, []NodeStatus{
			{ID: 1, Name: "alpha", Buckets: 2, Packets: 11, Rate: 9},
			{ID: 2, Name: "beta", Buckets: 2, Packets: 6, Rate: 4},
		}},
		{"no view yet", &heartbeat.Status{}, []NodeStatus{{ID: 1, Name: "alpha"}, {ID: 2, Name: "beta"}}},
		{"an agent that does not answer", nil, []NodeStatus{{ID: 1, Name: "alpha"}, {ID: 2, Name: "beta"}}},
	} {
		got, err := describe(&State{PID: os.Getpid(), StartTime: ownStart(t), Cluster: c}, test.members, before, after, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, got.Nodes); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		if test.members != nil && got.Members.Owners != nil {
			t.Errorf("%s: the table is in what people read", test.name)
		}
	}
}

// What a node that does not act tells its operator.
func TestWarnings(t *testing.T) {
	c := &cluster.Cluster{Name: "web", Self: 1, Nodes: []cluster.Node{{ID: 1}}, Hash: cluster.Hash{Buckets: 1}}
	start := ownStart(t)
	for _, test := range []struct {
		name       string
		start      uint64
		lease      time.Duration
		tableEpoch uint64
		want       string
	}{
		{"all well", start, time.Second, 2, ""},
		{"lease over", start, -1, 2, "no lease"},
		{"table older than the lease", start, time.Second, 1, "no lease"},
		{"agent gone", start + 1, -1, 2, "is not running"},
	} {
		snapshot := &dataplane.Snapshot{Lease: test.lease, LeaseEpoch: 2, TableEpoch: test.tableEpoch,
			States: []dataplane.State{dataplane.Owned}, BucketPackets: []uint64{0}}
		s, err := describe(&State{PID: os.Getpid(), StartTime: test.start, Cluster: c}, nil, snapshot, snapshot, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(s.Warnings, "\n")
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: warnings %q, want %q", test.name, got, test.want)
		}
	}
}

// Whoever names a witness wants that one to be asked, and nobody else to do in its place.
func TestWitnessAlone(t *testing.T) {
	witness := netip.MustParseAddr("192.0.2.254")
	a := &Agent{cluster: &cluster.Cluster{Membership: cluster.Membership{Witness: witness}}}
	got, err := a.outside()
	if want := []heartbeat.Target{{Address: witness}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("asked: %v, %v; want %v", got, err, want)
	}
}
