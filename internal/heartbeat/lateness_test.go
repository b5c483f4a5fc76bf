package heartbeat

import (
	"testing"
	"time"
)

func TestLateness(t *testing.T) {
	var l lateness
	if got := l.lastMinute(0); got != 0 {
		t.Errorf("nothing was done, and it was %s late", got)
	}
	l.add(100*time.Second, 7*time.Millisecond)
	l.add(100*time.Second+time.Millisecond, -time.Second)
	l.add(130*time.Second, 3*time.Millisecond)
	for at, want := range map[time.Duration]time.Duration{
		100 * time.Second: 7 * time.Millisecond,
		159 * time.Second: 7 * time.Millisecond,
		160 * time.Second: 3 * time.Millisecond,
		189 * time.Second: 3 * time.Millisecond,
		190 * time.Second: 0,
	} {
		if got := l.lastMinute(at); got != want {
			t.Errorf("at %s: %s, want %s", at, got, want)
		}
	}
	l.add(160*time.Second, time.Millisecond) // takes the place of 100 s
	if got := l.lastMinute(160 * time.Second); got != 3*time.Millisecond {
		t.Errorf("got %s", got)
	}
	l.add(161*time.Second, time.Hour)
	want := map[int]uint64{0: 1, 10: 1, 12: 1, 13: 1, latenessBuckets - 1: 1}
	for i, n := range l.counts {
		if n != want[i] {
			t.Errorf("bucket %d: %d, want %d", i, n, want[i])
		}
	}
}

func TestProgramText(t *testing.T) {
	for line, want := range map[string]uintptr{
		"00400000-00a5c000 r-xp 00000000 fe:01 1234                       /usr/local/sbin/shoal": 0x65c000,
		"00a5c000-011c9000 r--p 0065c000 fe:01 1234                       /usr/local/sbin/shoal": 0x76d000,
		"011c9000-01230000 rw-p 00dc9000 fe:01 1234                       /usr/local/sbin/shoal": 0,
		"c000000000-c004000000 rw-p 00000000 00:00 0":                                            0,
		"7fff0000-7fff1000 r-xp 00000000 00:00 0                          [vdso]":                0,
		"": 0,
	} {
		if _, length, ok := programText(line); ok != (want != 0) || ok && length != want {
			t.Errorf("%s: %x, %t", line, length, ok)
		}
	}
}
