package heartbeat

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func open(t *testing.T, dir, owner string) (*slots, []byte, []error) {
	t.Helper()
	s, newest, problems, err := openSlots(dir, owner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s, newest, problems
}

func TestSlots(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host", "web")
	s, newest, problems := open(t, dir, "web/1")
	if newest != nil || problems != nil {
		t.Fatalf("new: %q, %v", newest, problems)
	}
	records := []string{"first", "second, which is longer", "", "fourth", strings.Repeat("x", maxRecord)}
	for _, record := range records {
		if err := s.write([]byte(record)); err != nil {
			t.Fatal(err)
		}
		var after *slots
		if after, newest, problems = open(t, dir, "web/1"); string(newest) != record || newest == nil || problems != nil {
			t.Fatalf("%.20q became %.20q, %v", record, newest, problems)
		}
		after.close()
	}
	if err := s.write(make([]byte, maxRecord+1)); err == nil {
		t.Error("a record that would not be read again was written")
	}
	if _, newest, problems = open(t, dir, "web/2"); newest != nil || len(problems) != 2 || !errors.Is(problems[0], errForeign) {
		t.Errorf("another node: %.20q, %v", newest, problems)
	}
}

// Whatever a crash leaves of the slot that is being written, the one before is
// found.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	s, _, _ := open(t, dir, "web/1")
	for _, record := range []string{"an old one", "the one before"} {
		if err := s.write([]byte(record)); err != nil {
			t.Fatal(err)
		}
	}
	path := s.files[(s.sequence+1)%2].Name()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	next := appendSlot(nil, s.sequence+1, s.owner, []byte("the torn one"))
	for n := range next {
		torn := append(bytes.Clone(next[:n]), before[min(n, len(before)):]...)
		if err := os.WriteFile(path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		after, newest, problems := open(t, dir, "web/1")
		after.close()
		if string(newest) != "the one before" {
			t.Fatalf("torn at %d: %q, %v", n, newest, problems)
		}
	}
}

func TestNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := openSlots(filepath.Join(file, "web"), "web/1"); err == nil {
		t.Error("made a directory in a file")
	}
}

// FuzzSlot checks that a slot is read as it was written, or not at all.
func FuzzSlot(f *testing.F) {
	owner := [16]byte{1, 2, 3}
	f.Add([]byte{})
	f.Add(appendSlot(nil, 7, owner, nil))
	f.Add(appendSlot(nil, 1<<63, owner, []byte("record")))
	f.Add(appendSlot(nil, 7, [16]byte{}, []byte("record")))
	f.Fuzz(func(t *testing.T, data []byte) {
		sequence, record, err := parseSlot(data, owner)
		if err == nil && !bytes.Equal(appendSlot(nil, sequence, owner, record), data) {
			t.Errorf("%x is taken for sequence %d, record %x", data, sequence, record)
		}
	})
}
