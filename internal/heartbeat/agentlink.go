package heartbeat

import (
	"encoding/json"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// agentLink is the process's end of the socket to its agent. Nothing blocks:
// an agent that does not read loses what it is told.
type agentLink struct {
	fd     int
	buf    []byte
	rights [64]byte
	lost   uint64 // messages that the agent did not take
}

// maxCommand is the longest message in bytes, either way.
const maxCommand = 1 << 20

func openAgentLink(fd int) (*agentLink, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("use file descriptor %d as the agent's socket: %w", fd, err)
	}
	unix.CloseOnExec(fd)
	// Otherwise a long message is refused (net/core/sock.c); with less
	// privilege the default must do.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2*maxCommand)
	return &agentLink{fd: fd, buf: make([]byte, maxCommand)}, nil
}

// receive returns the next message, and a file descriptor that came with it or
// -1. EAGAIN: there is none now. No message and no error: the agent is gone.
func (a *agentLink) receive() (message []byte, file int, errno unix.Errno) {
	iov := unix.Iovec{Base: &a.buf[0], Len: uint64(len(a.buf))}
	msg := unix.Msghdr{Iov: &iov, Iovlen: 1, Control: &a.rights[0], Controllen: uint64(len(a.rights))}
	n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(a.fd), uintptr(unsafe.Pointer(&msg)),
		unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if errno != 0 {
		return nil, -1, errno
	}
	file = -1
	if msg.Controllen > 0 {
		file = firstFile(a.rights[:msg.Controllen])
	}
	return a.buf[:n], file, 0
}

// firstFile takes the file descriptors out of control messages, and closes all
// but the first.
func firstFile(rights []byte) int {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return -1
	}
	first := -1
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if first < 0 {
				first = fd
			} else {
				unix.Close(fd)
			}
		}
	}
	return first
}

func (a *agentLink) tell(e Event) {
	data, err := json.Marshal(e)
	if err != nil {
		fmt.Fprintln(os.Stderr, "shoal heartbeat:", err)
		return
	}
	a.pass(data)
}

// pass passes a message on as it is.
func (a *agentLink) pass(data []byte) {
	if errno := sendTo(a.fd, data); errno != 0 {
		a.lost++
	}
}

func sendTo(fd int, data []byte) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(data))),
		uintptr(len(data)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return errno
}
