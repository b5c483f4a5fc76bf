package heartbeat

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/member"
)

// sample is a record of a view of four buckets.
func sample() *member.Stored {
	v := &member.View{Owners: []member.NodeID{1, 2, 2, 0}, Moves: []member.Move{{Bucket: 1, Old: 1}}}
	v.ViewHeader = member.ViewHeader{Epoch: 5<<8 | 2, Lineage: 7, Voters: 3, OldVoters: 3, Reason: "node2 joins"}
	v.Members[0] = member.Entry{Incarnation: 11, State: member.Serving, Weight: 100}
	table := sha256.Sum256(v.AppendTable(nil))
	copy(v.Table[:], table[:])
	header := sha256.Sum256(v.ViewHeader.AppendBinary(nil))
	copy(v.Digest[:], header[:])
	return &member.Stored{Promised: 6<<8 | 1, Accepted: v}
}

func TestStored(t *testing.T) {
	for _, want := range []*member.Stored{{}, {Promised: 258}, sample()} {
		record := appendStored(nil, want)
		got, err := parseStored(record, 4)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(member.View{})); diff != "" {
			t.Error(diff)
		}
		if _, err := parseStored(record, 5); (err == nil) != (want.Accepted == nil) {
			t.Errorf("with another number of buckets: %v", err)
		}
		for n := range record {
			if _, err := parseStored(record[:n], 4); err == nil && n != 8 {
				t.Errorf("%d bytes of %d are taken for a record", n, len(record))
			}
		}
	}
}

// FuzzStored checks that nothing that a disk may hold is a crash, and that what
// is read is what was written.
func FuzzStored(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendStored(nil, &member.Stored{Promised: 258}))
	f.Add(appendStored(nil, sample()))
	f.Fuzz(func(t *testing.T, record []byte) {
		s, err := parseStored(record, 4)
		if err != nil {
			if !errors.Is(err, errRecord) {
				t.Fatal(err)
			}
			return
		}
		if diff := cmp.Diff(record, appendStored(nil, s)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestStorer(t *testing.T) {
	dir := t.TempDir()
	slots, _, _, err := openSlots(dir, "web/1")
	if err != nil {
		t.Fatal(err)
	}
	s, err := startStorer(slots)
	if err != nil {
		t.Fatal(err)
	}
	if !s.idle() {
		t.Error("it is busy with nothing")
	}
	for sequence := range uint64(100) {
		s.submit(member.Stored{Promised: member.Epoch(sequence + 1)}, sequence+1)
	}
	awaitWritten(t, s, 100)
	if !s.idle() {
		t.Error("it is not done")
	}
	if first, second := s.longest(), s.longest(); first <= 0 || second != 0 {
		t.Errorf("the longest write took %v, and of none since %v", first, second)
	}
	s.close()
	_, newest, _, err := openSlots(dir, "web/1")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parseStored(newest, 4); err != nil || got.Promised != 100 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// What cannot be written is said, and does not keep the process from ending.
func TestStorerFails(t *testing.T) {
	slots, _, _, err := openSlots(t.TempDir(), "web/1")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range slots.files {
		f.Close()
	}
	s, err := startStorer(slots)
	if err != nil {
		t.Fatal(err)
	}
	s.submit(member.Stored{Promised: 1}, 1)
	await(t, s, func() bool { return s.failed.Load() != nil })
	if s.idle() {
		t.Error("it is done with what it could not write")
	}
	s.close()
}

func awaitWritten(t *testing.T, s *storer, sequence uint64) {
	t.Helper()
	await(t, s, func() bool { return s.take() == sequence })
}

// await waits for what the storer tells.
func await(t *testing.T, s *storer, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); {
		fds := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, 10_000); err != nil && !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}
