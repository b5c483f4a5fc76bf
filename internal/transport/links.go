package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Links follows interfaces by their names: whether each is there and can send.
type Links struct {
	socket
	names   []string
	indexes []int // by name; 0: there is none
	up      uint8
	buf     [32 << 10]byte // the kernel makes no larger messages of a dump
}

// maxDumps is how often in a row the kernel may lose events before the socket
// is given up.
const maxDumps = 8

// OpenLinks follows up to eight interfaces, which may come and go. The socket
// is readable at first: Read tells how things are.
func OpenLinks(names []string) (*Links, error) {
	if len(names) > 8 {
		return nil, fmt.Errorf("follow %d interfaces: 8 at most", len(names))
	}
	l := &Links{names: names, indexes: make([]int, len(names))}
	var err error
	if l.socket, err = openSocket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("follow interfaces: %w", err)
	}
	err = os.NewSyscallError("bind", unix.Bind(l.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.RTNLGRP_LINK - 1)}))
	if err == nil {
		err = l.dump()
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("follow interfaces: %w", err)
	}
	return l, nil
}

// Read takes in what has happened, and returns the interfaces that are set up
// and have carrier: bit n is the n-th name. After an error open another Links.
func (l *Links) Read() (up uint8, err error) {
	for range maxDumps {
		lost, err := l.drain()
		if err != nil {
			return 0, fmt.Errorf("follow interfaces: %w", err)
		}
		if !lost {
			return l.up, nil
		}
		if err := l.dump(); err != nil {
			return 0, fmt.Errorf("follow interfaces: %w", err)
		}
	}
	return 0, errors.New("follow interfaces: the kernel loses their events again and again")
}

// Index returns the index of the n-th interface as of the last Read; 0: it is
// not there. Another one than before is another interface: what was opened on
// the old one is dead.
func (l *Links) Index(n int) int { return l.indexes[n] }

// Number returns which of the interfaces has the index; -1: none.
func (l *Links) Number(index int) int {
	for n, i := range l.indexes {
		if i == index && i != 0 {
			return n
		}
	}
	return -1
}

// dump forgets everything and asks for all interfaces. The answers come among
// the events, in the order in which things were so.
func (l *Links) dump() error {
	clear(l.indexes)
	l.up = 0
	var request struct {
		unix.NlMsghdr
		unix.IfInfomsg
	}
	request.Len = uint32(unsafe.Sizeof(request))
	request.NlMsghdr.Type = unix.RTM_GETLINK
	request.NlMsghdr.Flags = unix.NLM_F_REQUEST | unix.NLM_F_DUMP
	return l.send(unsafe.Slice((*byte)(unsafe.Pointer(&request)), unsafe.Sizeof(request)))
}

// drain reads until nothing is left: only then does the kernel queue events
// again after it has lost some (net/netlink/af_netlink.c, NETLINK_S_CONGESTED).
func (l *Links) drain() (lost bool, err error) {
	for {
		n, errno := l.receive(l.buf[:])
		switch {
		case errno == unix.EAGAIN:
			return lost, nil
		case errno == unix.ENOBUFS:
			lost = true
		case errno != 0:
			return false, errno
		case n > len(l.buf):
			lost = true
		default:
			interrupted, err := l.messages(l.buf[:n])
			if err != nil {
				return false, err
			}
			lost = lost || interrupted
		}
	}
}

var native = binary.NativeEndian

// messages takes in the messages of one datagram. Interrupted: interfaces came
// or went during a dump, and it may have missed some.
func (l *Links) messages(b []byte) (interrupted bool, err error) {
	for len(b) >= unix.NLMSG_HDRLEN {
		length := int(native.Uint32(b))
		if length < unix.NLMSG_HDRLEN || length > len(b) {
			break
		}
		body := b[unix.NLMSG_HDRLEN:length]
		interrupted = interrupted || native.Uint16(b[6:])&unix.NLM_F_DUMP_INTR != 0
		switch kind := native.Uint16(b[4:]); kind {
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			// Bridges send messages of their own family when a port leaves them.
			if len(body) >= unix.SizeofIfInfomsg && body[0] == unix.AF_UNSPEC {
				l.link(kind, body)
			}
		case unix.NLMSG_ERROR:
			if len(body) >= 4 && native.Uint32(body) != 0 {
				return false, unix.Errno(-int32(native.Uint32(body)))
			}
		}
		b = b[min(len(b), (length+3)&^3):]
	}
	return interrupted, nil
}

// link takes in what a struct ifinfomsg and its attributes say. An interface
// that was renamed is no longer the one that had its name.
func (l *Links) link(kind uint16, body []byte) {
	index, flags := int(int32(native.Uint32(body[4:]))), native.Uint32(body[8:])
	name := linkName(body[unix.SizeofIfInfomsg:])
	for n := range l.names {
		switch {
		case kind == unix.RTM_NEWLINK && string(name) == l.names[n]:
			l.indexes[n] = index
			l.up &^= 1 << n
			if flags&unix.IFF_UP != 0 && flags&unix.IFF_LOWER_UP != 0 {
				l.up |= 1 << n
			}
		case l.indexes[n] == index:
			l.indexes[n] = 0
			l.up &^= 1 << n
		}
	}
}

// linkName finds IFLA_IFNAME.
func linkName(attributes []byte) []byte {
	for b := attributes; len(b) >= unix.SizeofRtAttr; {
		length := int(native.Uint16(b))
		if length < unix.SizeofRtAttr || length > len(b) {
			return nil
		}
		if native.Uint16(b[2:]) == unix.IFLA_IFNAME && length > unix.SizeofRtAttr {
			return b[unix.SizeofRtAttr : length-1] // without the NUL
		}
		b = b[min(len(b), (length+3)&^3):]
	}
	return nil
}
