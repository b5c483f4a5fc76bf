package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Handler answers a request with a result, or with an error that the other
// side gets as its text. It may go on with the connection, which is closed
// when the handler returns and the answer is sent.
type Handler func(ctx context.Context, c *Conn, r Request) (result any, err error)

// Server listens on a socket for one agent.
type Server struct {
	path     string
	listener *net.UnixListener
}

// Listen makes the socket, which root alone can use, in the place of one that
// another process has left, or has.
func Listen(path string) (*Server, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("listen for commands: %w", err)
	}
	partial := path + "~"
	if err := os.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listen for commands: %w", err)
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: partial, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("listen for commands: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(partial, 0o600); err == nil {
		err = os.Rename(partial, path)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("listen for commands: %w", err)
	}
	return &Server{path, l}, nil
}

// retryAfter is when a connection is looked for again that could not be taken.
const retryAfter = 100 * time.Millisecond

// Serve answers requests, each in a goroutine of its own, until Close.
func (s *Server) Serve(ctx context.Context, h Handler) {
	for {
		u, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors or memory, for now
			time.Sleep(retryAfter)
			continue
		}
		go func() {
			c, err := newConn(u)
			if err != nil {
				return
			}
			defer c.Close()
			serve(ctx, c, h)
		}()
	}
}

func serve(ctx context.Context, c *Conn, h Handler) {
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	var r Request
	files, err := c.Receive(&r)
	closeAll(files)
	if err != nil {
		return
	}
	result, err := h(ctx, c, r)
	answer := reply{}
	if err == nil {
		answer.Result, err = json.Marshal(result)
	}
	if err != nil {
		answer.Error = err.Error()
	}
	_ = c.Send(answer) // who asked may be gone
}

// Close stops listening. The socket stays where it is: it may be another's by
// now.
func (s *Server) Close() error { return s.listener.Close() }

// Remove stops listening and removes the socket.
func (s *Server) Remove() error {
	return errors.Join(s.listener.Close(), os.Remove(s.path))
}
