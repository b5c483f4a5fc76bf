package health

import (
	"io"
	"log"
	"testing"

	"golang.org/x/sys/unix"
)

// shrinkBacklog makes a socket that listens keep a single connection waiting:
// listen(2) again sets the length of the queue.
func shrinkBacklog(t *testing.T, fd int) {
	if err := unix.Listen(fd, 0); err != nil {
		t.Error(err)
	}
}

func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }
