package health

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-net/shoal/internal/cluster"
)

func shell(script string, timeout time.Duration) cluster.Check {
	return cluster.Check{Kind: cluster.CheckExec, Command: []string{"/bin/sh", "-c", script}, Timeout: timeout}
}

func TestExec(t *testing.T) {
	for _, tt := range []struct {
		name, script, want string
	}{
		{"passes", "exit 0", ""},
		{"fails", "exit 3", "exit status 3"},
		{"says why", `echo; echo "disk full"; echo more; exit 1`, "exit status 1: disk full"},
		{"says why on the other output", "echo disk full >&2; exit 1", "exit status 1: disk full"},
		{"says it in part", "printf 'disk '; printf full; exit 1", "exit status 1: disk full"},
		{"says strange things", `printf 'a\033[1mb\377\n'; exit 1`, "exit status 1: a?[1mb?"},
		{"says much", "yes | head -c 1000000; exit 1", "exit status 1: y"},
		{"says one long line", "head -c 1000000 /dev/zero | tr '\\0' x; exit 1", "exit status 1: " + strings.Repeat("x", maxWords-15) + "…"},
		{"is killed", "kill -9 $$", "signal: killed"},
		{"reads nothing", "read line && exit 1; exit 0", ""},
		{"has a PATH, and no other variable", `[ "$(env | grep -v -e ^PATH= -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD=)" = "" ] && [ "$PATH" ]`, ""},
		{"runs in the root directory", `[ "$(pwd)" = / ]`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ask(t, shell(tt.script, long))
			expectWords(t, got, tt.want)
		})
	}
	t.Setenv("NOTIFY_SOCKET", "/run/systemd/notify")
	expectWords(t, ask(t, shell(`[ -z "$NOTIFY_SOCKET" ]`, long)), "")
	missing := cluster.Check{Kind: cluster.CheckExec, Command: []string{"/nonexistent/check"}, Timeout: long}
	expectWords(t, ask(t, missing), "no such file or directory")
}

// processes starts a check that writes the numbers of two processes, and
// returns them: its own and a child's.
func processes(t *testing.T, script string, timeout time.Duration, cancel bool) (pids []int, words string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pids")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	// Open for both, so that neither side waits for the other to open it.
	pipe, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if err := pipe.SetReadDeadline(time.Now().Add(long)); err != nil {
		t.Fatal(err)
	}
	c := shell("sleep 1000 & echo $$ $! > "+file+"; "+script, timeout)
	ctx, stop := context.WithTimeout(t.Context(), c.Timeout)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- newProbe(c)(ctx) }()
	text, err := bufio.NewReader(pipe).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if cancel {
		stop()
	}
	if err := <-done; err != nil {
		words = err.Error()
	}
	for word := range strings.FieldsSeq(text) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids, words
}

// alive returns which processes still run. A child whose parent has ended is
// reaped by init, in its own time: it counts as gone when it is a zombie.
func alive(pids []int) (left []int) {
	for _, pid := range pids {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err == nil && !strings.Contains(string(stat), ") Z ") && !strings.Contains(string(stat), ") X ") {
			left = append(left, pid)
		}
	}
	return left
}

// Nothing of a check is left: not of one that hangs, not of one that is cut
// short, and not of one that ends and leaves a child behind.
func TestExecLeavesNothing(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		timeout      time.Duration
		cancel       bool
		want         string
	}{
		{"hangs", "echo waiting; wait", time.Second, false, "did not end within 1s: waiting"},
		{"hangs on", "trap '' TERM INT HUP; echo waiting; wait", time.Second, false, "did not end within 1s: waiting"},
		{"is cut short", "wait", long, true, "did not end"},
		{"leaves a child", "exit 0", long, false, ""},
		{"leaves a child and fails", "exit 1", long, false, "exit status 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			pids, words := processes(t, tt.script, tt.timeout, tt.cancel)
			if len(pids) != 2 {
				t.Fatalf("got processes %v", pids)
			}
			expectWords(t, words, tt.want)
			if took := time.Since(start); took > long/2 {
				t.Errorf("took %s", took)
			}
			// SIGKILL has been sent; the last process may take a moment to go.
			for end := time.Now().Add(long); len(alive(pids)) > 0 && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			if left := alive(pids); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A process that left the group keeps the output open, and holds nothing up.
func TestExecOutputHeldOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ready")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	expectWords(t, ask(t, shell("setsid sh -c 'echo >"+file+"; sleep 3' & read ready <"+file, long)), "")
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestFirstLine(t *testing.T) {
	for _, tt := range []struct {
		writes []string
		want   string
	}{
		{nil, ""},
		{[]string{"\n \n", "a", "b\nc"}, "ab"},
		{[]string{"a\n", "b"}, "a"},
		{[]string{strings.Repeat(" ", 150) + "\n", strings.Repeat(" ", 150) + "a"}, "a"},
		{[]string{strings.Repeat("ä", maxWords)}, strings.Repeat("ä", maxWords/2) + "…"},
	} {
		var f firstLine
		for _, w := range tt.writes {
			if n, err := f.Write([]byte(w)); n != len(w) || err != nil {
				t.Errorf("wrote %d of %q, %v", n, w, err)
			}
		}
		if diff := cmp.Diff(tt.want, f.String()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestWords(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{errors.New("a\r\nb\x00"), "a??b?"},
		{&os.SyscallError{Syscall: "connect", Err: syscall.ENETUNREACH}, "network is unreachable"},
		{syscall.ETIMEDOUT, "no answer within 1s"},
	} {
		expectWords(t, words(tt.err, time.Second), tt.want)
	}
}
