package transport

import (
	"fmt"
	"net"
	"os"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// socket sends and receives by raw system calls, which the Go scheduler knows
// nothing of: it can then not keep the thread waiting for a processor.
type socket struct {
	fd     int
	to     [unix.SizeofSockaddrInet6]byte // a raw address, where the socket is not bound to one
	toSize uintptr
}

func openSocket(domain, kind, protocol int) (socket, error) {
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return socket{}, fmt.Errorf("open a socket: %w", os.NewSyscallError("socket", err))
	}
	return socket{fd: fd}, nil
}

// FD is the socket, to be polled and for nothing else.
func (s *socket) FD() int { return s.fd }

// Close closes the socket.
func (s *socket) Close() error { return unix.Close(s.fd) }

// aim sets where send sends to: a raw socket address.
func (s *socket) aim(address unsafe.Pointer, size uintptr) {
	s.toSize = uintptr(copy(s.to[:], unsafe.Slice((*byte)(address), size)))
}

// send returns nil or a unix.Errno, which as an error takes no memory.
func (s *socket) send(b []byte) error {
	var to unsafe.Pointer
	if s.toSize > 0 {
		to = unsafe.Pointer(&s.to)
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))),
		uintptr(len(b)), unix.MSG_DONTWAIT, uintptr(to), s.toSize)
	if errno != 0 {
		return errno
	}
	return nil
}

// receive returns the length of the next datagram, which can be more than was
// room for. Where there is none the error is EAGAIN.
func (s *socket) receive(b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))),
		uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	return int(n), errno
}

// bind lets a packet socket receive one EtherType on one interface.
func (s *socket) bind(etherType uint16, ifindex int) error {
	return os.NewSyscallError("bind", unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: bigEndian(etherType), Ifindex: ifindex}))
}

// filter lets only those datagrams in that pass all tests: the rest wakes nobody.
func (s *socket) filter(tests ...test) error {
	var program []bpf.Instruction
	for i, t := range tests {
		jump := bpf.JumpIf{Cond: t.fails, Val: t.value, SkipTrue: uint8(2*(len(tests)-i) - 1)}
		program = append(program, t.load, jump)
	}
	program = append(program, bpf.RetConstant{Val: 1 << 16}, bpf.RetConstant{Val: 0})
	raw, err := bpf.Assemble(program)
	if err != nil {
		return fmt.Errorf("assemble the socket's filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}))
}

// test is one test of a filter: a value is loaded, and must not fail.
type test struct {
	load  bpf.Instruction
	fails bpf.JumpTest
	value uint32
}

func equal(offset uint32, size int, value uint32) test {
	return test{bpf.LoadAbsolute{Off: offset, Size: size}, bpf.JumpNotEqual, value}
}

// equalBytes compares an even number of bytes.
func equalBytes(offset uint32, b []byte) (tests []test) {
	for ; len(b) > 0; b, offset = b[2:], offset+2 {
		tests = append(tests, equal(offset, 2, uint32(b[0])<<8|uint32(b[1])))
	}
	return tests
}

func ethernetInterface(name string) (*net.Interface, error) {
	ifc, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("look up interface %s: %w", name, err)
	}
	if len(ifc.HardwareAddr) != 6 {
		return nil, fmt.Errorf("interface %s is not Ethernet", name)
	}
	return ifc, nil
}

// bigEndian returns a value whose bytes in memory are n's in network order.
func bigEndian(n uint16) uint16 {
	b := [2]byte{byte(n >> 8), byte(n)}
	return *(*uint16)(unsafe.Pointer(&b))
}

// now is the clock that leases are counted on: CLOCK_BOOTTIME.
func now() time.Duration {
	var ts unix.Timespec
	unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano())
}
