package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func listen(t *testing.T, path string, h Handler) *Server {
	t.Helper()
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.Serve(context.Background(), h)
	}()
	t.Cleanup(func() {
		s.Close()
		<-served
	})
	return s
}

func echo(_ context.Context, _ *Conn, r Request) (any, error) {
	var text string
	if err := json.Unmarshal(r.Args, &text); err != nil {
		return nil, err
	}
	if r.Op != "echo" {
		return nil, fmt.Errorf("no operation %q", r.Op)
	}
	return text, nil
}

func TestAsk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "host", "web")
	listen(t, path, echo)
	for _, text := range []string{"", "hello", strings.Repeat("long ", 40_000)} {
		var got string
		if err := Ask(path, 10*time.Second, "echo", text, &got); err != nil || got != text {
			t.Errorf("got %d bytes, %v, want %d", len(got), err, len(text))
		}
	}
	if err := Ask(path, 10*time.Second, "what", "", nil); err == nil || err.Error() != `no operation "what"` {
		t.Errorf("got %v", err)
	}
	if err := Ask(path, 10*time.Second, "echo", 5, nil); err == nil {
		t.Error("a number passed for a text")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: others could use the socket", info.Mode(), err)
	}
}

func TestNoAgent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web")
	if err := Ask(path, time.Second, "echo", "", nil); !errors.Is(err, ErrNoAgent) {
		t.Errorf("no socket: %v", err)
	}
	listen(t, path, echo).Close()
	if err := Ask(path, time.Second, "echo", "", nil); !errors.Is(err, ErrNoAgent) {
		t.Errorf("a socket that was left: %v", err)
	}
}

// An agent that hangs is given up after the timeout.
func TestTimeout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web")
	block := make(chan struct{})
	listen(t, path, func(context.Context, *Conn, Request) (any, error) {
		<-block
		return nil, nil
	})
	defer close(block)
	if err := Ask(path, 10*time.Millisecond, "echo", "", nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// The next agent listens in the place of the last one while that still runs,
// and does not lose the socket when that ends.
func TestTakeOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web")
	name := func(name string) Handler {
		return func(context.Context, *Conn, Request) (any, error) { return name, nil }
	}
	old := listen(t, path, name("old"))
	next := listen(t, path, name("next"))
	old.Close()
	var got string
	if err := Ask(path, 10*time.Second, "name", nil, &got); err != nil || got != "next" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := next.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// pair returns two connections to each other.
func pair(t *testing.T) (near, far *Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "end")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if ends[i], err = newConn(c.(*net.UnixConn)); err != nil {
			t.Fatal(err)
		}
	}
	return ends[0], ends[1]
}

func TestFiles(t *testing.T) {
	near, far := pair(t)
	defer far.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := near.Send("a pipe", w); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var text string
	files, err := far.Receive(&text)
	if err != nil || text != "a pipe" || len(files) != 1 {
		t.Fatalf("got %q, %v, %v", text, files, err)
	}
	if _, err := files[0].WriteString("through it"); err != nil {
		t.Error(err)
	}
	files[0].Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "through it" {
		t.Errorf("got %q, %v", got, err)
	}
	near.Close()
	if _, err := far.Receive(&text); !errors.Is(err, io.EOF) {
		t.Errorf("after the other side closed: %v", err)
	}
}

// One connection that cannot be taken is not the last.
func TestServeOutOfDescriptors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	waiting, err := net.Dial("unixpacket", path)
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	var usual unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &usual); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: usual.Max}); err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.Serve(context.Background(), func(context.Context, *Conn, Request) (any, error) { return "here", nil })
	}()
	select {
	case <-served:
	case <-time.After(retryAfter / 2):
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &usual); err != nil {
		t.Fatal(err)
	}
	var got string
	if err := Ask(path, 10*time.Second, "name", nil, &got); err != nil || got != "here" {
		t.Errorf("got %q, %v", got, err)
	}
	s.Close()
	<-served
}
