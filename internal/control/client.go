package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoAgent: nothing listens on the socket.
var ErrNoAgent = errors.New("no agent answers")

// Dial sends a request to the agent that listens on a socket, and returns the
// connection. Where there is none, it fails with ErrNoAgent. Everything on the
// connection is to be done within the timeout; see SetDeadline.
func Dial(path string, timeout time.Duration, op string, args any) (*Conn, error) {
	r := Request{Op: op}
	if args != nil {
		var err error
		if r.Args, err = json.Marshal(args); err != nil {
			return nil, fmt.Errorf("encode a request: %w", err)
		}
	}
	u, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, fmt.Errorf("%s: %w", path, ErrNoAgent)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the agent: %w", err)
	}
	c, err := newConn(u)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		c.Close()
		return nil, err
	}
	if err := c.Send(r); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Result receives the answer to the request; result may be nil.
func (c *Conn) Result(result any) error {
	var r reply
	files, err := c.Receive(&r)
	closeAll(files)
	switch {
	case err != nil:
		return err
	case r.Error != "":
		return errors.New(r.Error)
	case result == nil:
		return nil
	}
	if err := json.Unmarshal(r.Result, result); err != nil {
		return fmt.Errorf("decode an answer: %w", err)
	}
	return nil
}

// Ask sends a request and receives its answer.
func Ask(path string, timeout time.Duration, op string, args, result any) error {
	c, err := Dial(path, timeout, op, args)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Result(result)
}
