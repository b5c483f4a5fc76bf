package lab

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
)

// A readiness is a socket on which a service manager's protocol is spoken:
// datagrams of VARIABLE=VALUE lines, READY=1 among them (sd_notify(3)).
type readiness struct {
	conn *net.UnixConn
	c    chan struct{} // closed when READY=1 came
}

func listenReady(path string) (*readiness, error) {
	os.Remove(path) // of a former agent
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("open its readiness socket: %w", err)
	}
	r := &readiness{conn, make(chan struct{})}
	go r.run()
	return r, nil
}

// run reads for as long as the agent lives: it also tells when it stops.
func (r *readiness) run() {
	buf := make([]byte, 4096)
	for ready := false; ; {
		n, err := r.conn.Read(buf)
		if err != nil {
			return
		}
		for line := range strings.Lines(string(buf[:n])) {
			if strings.TrimSpace(line) == "READY=1" && !ready {
				ready = true
				close(r.c)
			}
		}
	}
}

func (r *readiness) close() { r.conn.Close() }

// A lockedWriter takes one line at a time from all nodes.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// A tail forwards a log with a name before each line, and keeps its end.
type tail struct {
	mu    sync.Mutex
	name  string
	to    io.Writer // or nil
	rest  []byte    // a line whose end has not come
	lines []string
}

const tailLines = 8

func newTail(name string, to io.Writer) *tail { return &tail{name: name, to: to} }

// Write never fails: a log that cannot be shown must not end the agent.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rest = append(t.rest, p...)
	for {
		line, rest, found := bytes.Cut(t.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		t.rest = rest
		t.lines = append(t.lines, string(line))
		if len(t.lines) > tailLines {
			t.lines = t.lines[1:]
		}
		if t.to != nil {
			fmt.Fprintf(t.to, "%s: %s\n", t.name, line)
		}
	}
}

// String is the end of the log, to be put behind an error.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == 0 {
		return ""
	}
	return "\n  " + strings.Join(t.lines, "\n  ")
}
