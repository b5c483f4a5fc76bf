package handover

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/test/nginx"
)

// How long a client waits for a connection and for an answer: within it a kernel
// sends a SYN five times and a segment six times. What has had no answer then gets
// none.
const (
	openPatience = 30 * time.Second
	patience     = 15 * time.Second
	// lateness is for answers that are there, and that a client without a processor
	// has not read in time.
	lateness = 100 * time.Millisecond
)

// A connection is one that a client has opened.
type connection struct {
	net.Conn
	answers *bufio.Reader
	repeats int    // how often the SYN was repeated
	server  string // who answered last; empty: nobody yet
}

// open connects a client with the cluster.
func (c *clients) open(client netip.Addr) (*connection, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openPatience)
	defer cancel()
	target := c.targets[0]
	if target.Is4() != client.Is4() {
		target = c.targets[1]
	}
	conn, err := c.ns.Dial(ctx, "tcp", netip.AddrPortFrom(client, 0), netip.AddrPortFrom(target, nginx.Port))
	if err != nil {
		return nil, err
	}
	o := &connection{Conn: conn, answers: bufio.NewReaderSize(conn, 512)}
	info, err := tcpInfo(conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	o.repeats = int(info.Total_retrans)
	return o, nil
}

// tcpInfo is what the kernel tells of a connection: tcp(7), TCP_INFO.
func tcpInfo(c net.Conn) (info *unix.TCPInfo, err error) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	outer := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	return info, errors.Join(outer, err)
}

const (
	ask     = "GET / HTTP/1.1\r\nHost: cluster.example\r\n\r\n"
	askLast = "GET / HTTP/1.1\r\nHost: cluster.example\r\nConnection: close\r\n\r\n"
)

// ask sends a request and waits for its answer. A connection has one server as
// long as it lives.
func (o *connection) ask(request string) (time.Duration, error) {
	began := time.Now()
	o.SetDeadline(began.Add(patience))
	if _, err := io.WriteString(o, request); err != nil {
		return 0, err
	}
	if _, err := o.answers.Peek(1); errors.Is(err, os.ErrDeadlineExceeded) {
		o.SetDeadline(time.Now().Add(lateness))
	}
	answer, err := http.ReadResponse(o.answers, nil)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	server := string(body)
	if answer.StatusCode != http.StatusOK || o.server != "" && o.server != server {
		return 0, fmt.Errorf("%s from %q, answers before from %q", answer.Status, server, o.server)
	}
	o.server = server
	return time.Since(began), nil
}

// short is an error without the ends of the connection.
func short(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return err.Error()
}
