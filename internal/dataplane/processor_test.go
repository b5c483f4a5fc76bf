package dataplane

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLastOf(t *testing.T) {
	for _, cpus := range [][]int{{0}, {5}, {0, 1}, {3, 64, 200}} {
		var set unix.CPUSet
		for _, cpu := range cpus {
			set.Set(cpu)
		}
		if got, want := lastOf(&set), cpus[len(cpus)-1]; got != want {
			t.Errorf("lastOf %v = %d, want %d", cpus, got, want)
		}
	}
}

// Whoever loads programs and whoever sends heartbeats never meet on a processor.
func TestProcessorsAreDivided(t *testing.T) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	affinity := func() (set unix.CPUSet) {
		t.Helper()
		if err := unix.SchedGetaffinity(0, &set); err != nil {
			t.Fatal(err)
		}
		return set
	}
	before := affinity()
	if before.Count() < 2 {
		t.Log("one processor: nothing to divide")
		return
	}
	var loading unix.CPUSet
	if err := offHeartbeatProcessor(func() error { loading = affinity(); return nil }); err != nil {
		t.Fatal(err)
	}
	if affinity() != before {
		t.Error("the thread that loaded programs may not run where it might before")
	}
	if err := TakeHeartbeatProcessor(); err != nil {
		t.Fatal(err)
	}
	beats := affinity()
	if beats.Count() != 1 || loading.Count() != before.Count()-1 || loading.IsSet(lastOf(&beats)) {
		t.Errorf("heartbeats on %v, programs on %v, of %v", beats, loading, before)
	}
}
