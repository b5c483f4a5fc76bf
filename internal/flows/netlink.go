package flows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Of the libraries for netlink none hands on what it reads without a copy of
// every message, which at 100,000 sockets a second costs more than the kernel's
// work.

// chunk is more than the kernel puts into one read of a dump: 32 KiB
// (netlink_dump in net/netlink/af_netlink.c).
const chunk = 1 << 16

// typeMask is NLA_TYPE_MASK of include/uapi/linux/netlink.h.
const typeMask = 0x3fff

// conn is a netlink socket. Its buffers are used again and again.
type conn struct {
	fd   int
	seq  uint32
	sent []byte
	read []byte
}

// dial opens a netlink socket that listens to the given groups
// (RTNLGRP_*, each the bit of its number less one).
func dial(protocol int, groups uint32) (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return &conn{fd: fd, read: make([]byte, chunk)}, nil
}

func (c *conn) Close() error { return unix.Close(c.fd) }

// request sends a request and calls each for what the answer's messages hold
// after their headers; the bytes are valid during the call only. It ends with
// the dump, with an answer of one message, or with the kernel's error, which
// is returned as a unix.Errno.
func (c *conn) request(kind, flags uint16, body []byte, each func([]byte)) error {
	c.seq++
	c.sent = binary.NativeEndian.AppendUint32(c.sent[:0], uint32(unix.SizeofNlMsghdr+len(body)))
	c.sent = binary.NativeEndian.AppendUint16(c.sent, kind)
	c.sent = binary.NativeEndian.AppendUint16(c.sent, flags|unix.NLM_F_REQUEST)
	c.sent = binary.NativeEndian.AppendUint32(c.sent, c.seq)
	c.sent = append(binary.NativeEndian.AppendUint32(c.sent, 0), body...)
	if _, err := retry(func() (int, error) { return unix.Write(c.fd, c.sent) }); err != nil {
		return os.NewSyscallError("write", err)
	}
	for {
		n, err := retry(func() (int, error) { return unix.Read(c.fd, c.read) })
		if err != nil {
			return os.NewSyscallError("read", err)
		}
		if done, err := c.messages(c.read[:n], each); done || err != nil {
			return err
		}
	}
}

// messages goes through what one read brought; done after the last message of
// the answer.
func (c *conn) messages(b []byte, each func([]byte)) (done bool, err error) {
	for len(b) >= unix.SizeofNlMsghdr {
		length := binary.NativeEndian.Uint32(b)
		kind, flags := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:])
		if length < unix.SizeofNlMsghdr || int(length) > len(b) {
			break
		}
		body := b[unix.SizeofNlMsghdr:length]
		of := binary.NativeEndian.Uint32(b[8:])
		b = b[min(len(b), int(length+3)&^3):]
		switch {
		case of != c.seq: // the rest of an answer that ended in an error
		case kind == unix.NLMSG_ERROR || kind == unix.NLMSG_DONE:
			return true, errno(body)
		default:
			each(body)
			if flags&unix.NLM_F_MULTI == 0 {
				return true, nil
			}
		}
	}
	if len(b) > 0 {
		return true, fmt.Errorf("%d bytes of a netlink message", len(b))
	}
	return false, nil
}

// errno is what NLMSG_ERROR and NLMSG_DONE begin with: 0, or an error negated.
func errno(body []byte) error {
	if len(body) < 4 {
		return nil
	}
	if code := int32(binary.NativeEndian.Uint32(body)); code < 0 {
		return unix.Errno(-code)
	}
	return nil
}

// attributes calls each for the attributes in b; nested ones are attributes
// again. Their flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER) are taken off.
func attributes(b []byte, each func(kind uint16, whole, value []byte)) {
	for len(b) >= unix.SizeofNlAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofNlAttr || length > len(b) {
			return
		}
		end := min(len(b), (length+3)&^3)
		each(binary.NativeEndian.Uint16(b[2:])&typeMask, b[:end], b[unix.SizeofNlAttr:length])
		b = b[end:]
	}
}

// appendAttribute appends an attribute whose length is a multiple of four.
func appendAttribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofNlAttr+len(value)))
	return append(binary.NativeEndian.AppendUint16(b, kind), value...)
}

// changed reports whether anything has come to the groups since it was last
// asked, and reads it all.
func (c *conn) changed() bool {
	any := false
	for {
		_, _, err := unix.Recvfrom(c.fd, c.read, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return any
		case err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR):
			return true
		}
		any = true
	}
}

func retry(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
