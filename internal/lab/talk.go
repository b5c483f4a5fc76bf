package lab

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Connections says what became of long-lived TCP connections, one of each
// client that was watched, and another one after each that broke.
type Connections struct {
	Opened int      `json:"opened"`
	Failed int      `json:"failed"` // attempts to open one
	Broken []Broken `json:"broken"`
}

// Broken is a connection that ended though its client went on asking.
type Broken struct {
	Client  netip.Addr `json:"client"`
	Seconds float64    `json:"at_s"` // since the start of the schedule
	Server  string     `json:"server"`
	Why     string     `json:"why"`
}

// How clients talk over their connections.
const (
	talkPeriod   = 100 * time.Millisecond // between two lines
	talkPatience = 2 * time.Second        // for an answer, or for a connection
)

// talk lets clients keep a connection each until ctx ends. What it returns
// waits for the end, and says what became of them.
func (l *Lab) talk(ctx context.Context, clients []netip.Addr) func() Connections {
	t := &talks{began: time.Now(), Connections: Connections{Broken: []Broken{}}}
	var running sync.WaitGroup
	for _, client := range clients {
		target := l.plan.targets()[0]
		if target.Is4() != client.Is4() {
			target = l.plan.targets()[1]
		}
		running.Go(func() {
			for ctx.Err() == nil {
				t.one(ctx, l.Clients, client, netip.AddrPortFrom(target, EchoPort))
			}
		})
	}
	return func() Connections {
		running.Wait()
		slices.SortFunc(t.Broken, func(a, b Broken) int { return cmp.Compare(a.Seconds, b.Seconds) })
		return t.Connections
	}
}

// talks collects what became of connections.
type talks struct {
	began time.Time
	mu    sync.Mutex
	Connections
}

// one opens a connection and keeps it until it breaks or ctx ends.
func (t *talks) one(ctx context.Context, ns *Namespace, client netip.Addr, target netip.AddrPort) {
	dial, cancel := context.WithTimeout(ctx, talkPatience)
	defer cancel()
	c, err := ns.Dial(dial, "tcp", netip.AddrPortFrom(client, 0), target)
	if err != nil {
		if ctx.Err() == nil {
			t.note(func() { t.Failed++ })
			wait(ctx, talkPeriod) // a refusal comes at once
		}
		return
	}
	defer c.Close()
	t.note(func() { t.Opened++ })
	if server, err := converse(ctx, c); err != nil {
		at := time.Since(t.began).Seconds()
		t.note(func() { t.Broken = append(t.Broken, Broken{client, at, server, short(err)}) })
	}
}

func (t *talks) note(what func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	what()
}

// converse asks and is answered until ctx ends. An error says how the
// connection broke; server is who answered last.
func converse(ctx context.Context, c net.Conn) (server string, err error) {
	lines := bufio.NewReader(c)
	for n := 0; wait(ctx, talkPeriod); n++ {
		c.SetDeadline(time.Now().Add(talkPatience))
		if _, err := fmt.Fprintln(c, n); err != nil {
			return server, err
		}
		line, err := lines.ReadString('\n')
		if err != nil {
			return server, err
		}
		if err := checkAnswer(strings.TrimSuffix(line, "\n"), fmt.Sprint(n)); err != nil {
			return server, err
		}
		server, _, _ = strings.Cut(line, " ")
	}
	return server, nil
}

// short is an error of a connection without its ends.
func short(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return err.Error()
}

// write tells people.
func (c *Connections) write(w io.Writer) {
	fmt.Fprintf(w, "%d long-lived TCP connections: %d broken", c.Opened, len(c.Broken))
	if c.Failed > 0 {
		fmt.Fprintf(w, ", %d could not be opened", c.Failed)
	}
	fmt.Fprintln(w)
	for _, b := range c.Broken {
		fmt.Fprintf(w, "%-16s broken after %.2f s; to %s: %s\n", b.Client, b.Seconds, b.Server, b.Why)
	}
}
