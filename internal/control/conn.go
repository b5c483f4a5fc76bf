package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of a message.
const (
	maxMessage = 1 << 20 // bytes
	maxFiles   = 16
)

// Conn is a connection that keeps messages apart.
type Conn struct{ unix *net.UnixConn }

// Request is the first message of a connection.
type Request struct {
	Op   string          `json:"op"`
	Args json.RawMessage `json:"args,omitempty"`
}

// reply is the answer to a request.
type reply struct {
	Error  string          `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// newConn makes room for the largest message, which the kernel otherwise
// refuses (sock_alloc_send_pskb in net/core/sock.c).
func newConn(u *net.UnixConn) (*Conn, error) {
	raw, err := u.SyscallConn()
	if err != nil {
		u.Close()
		return nil, err
	}
	var sizeErr error
	err = raw.Control(func(fd uintptr) {
		sizeErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2*maxMessage)
		if errors.Is(sizeErr, unix.EPERM) { // for root alone; others send less
			sizeErr = nil
		}
	})
	if err := errors.Join(err, sizeErr); err != nil {
		u.Close()
		return nil, fmt.Errorf("size a socket's buffer: %w", err)
	}
	return &Conn{u}, nil
}

// Close closes the connection.
func (c *Conn) Close() error { return c.unix.Close() }

// SetDeadline sets until when Send and Receive wait; the zero time: for ever.
func (c *Conn) SetDeadline(t time.Time) error { return c.unix.SetDeadline(t) }

// Send sends a message, and files with it, which stay open here.
func (c *Conn) Send(v any, files ...*os.File) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	if len(data) > maxMessage {
		return fmt.Errorf("send a message of %d bytes: longer than %d", len(data), maxMessage)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	if _, _, err := c.unix.WriteMsgUnix(data, rights, nil); err != nil {
		return fmt.Errorf("send a message: %w", err)
	}
	return nil
}

// Receive receives a message, and the files that come with it, which the
// caller closes. It returns io.EOF where the other side has closed.
func (c *Conn) Receive(v any) ([]*os.File, error) {
	data := make([]byte, maxMessage)
	rights := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, nRights, flags, _, err := c.unix.ReadMsgUnix(data, rights)
	if err != nil {
		return nil, fmt.Errorf("receive a message: %w", err)
	}
	files, err := openRights(rights[:nRights])
	if err == nil && n == 0 && nRights == 0 {
		return nil, io.EOF
	}
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = errors.New("receive a message: it is too long")
	}
	if err == nil {
		if err = json.Unmarshal(data[:n], v); err != nil {
			err = fmt.Errorf("decode a message: %w", err)
		}
	}
	if err != nil {
		closeAll(files)
		return nil, err
	}
	return files, nil
}

// openRights returns the files that came with a message. The Go runtime has
// asked for them to be closed on exec (MSG_CMSG_CLOEXEC).
func openRights(rights []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, fmt.Errorf("receive files: %w", err)
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			closeAll(files)
			return nil, fmt.Errorf("receive files: %w", err)
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
