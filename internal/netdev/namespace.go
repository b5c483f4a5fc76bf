package netdev

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Namespace returns the cookie of the calling thread's network namespace: a
// number that no other namespace has or will have until the next boot
// (SO_NETNS_COOKIE, Linux 5.14).
func Namespace() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("ask for the network namespace: %w", err)
	}
	defer unix.Close(fd)
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("ask for the network namespace: %w", err)
	}
	return cookie, nil
}
