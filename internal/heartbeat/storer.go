package heartbeat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/member"
	"golang.org/x/sys/unix"
)

// retryAfter is when what could not be written is tried again.
const retryAfter = time.Second

// storer writes what must survive a restart, on a thread of its own.
type storer struct {
	slots   *slots
	jobs    chan storeJob // one, the newest
	fd      int           // readable when something was written, or could not be
	written atomic.Uint64 // sequence of the member's that is on disk
	failed  atomic.Pointer[string]
	slowest atomic.Int64 // ns that a write took, since the loop looked
	ended   chan struct{}
	asked   uint64 // last sequence submitted; the loop's
}

type storeJob struct {
	stored   member.Stored
	sequence uint64
}

func startStorer(s *slots) (*storer, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	st := &storer{slots: s, jobs: make(chan storeJob, 1), fd: fd, ended: make(chan struct{})}
	go st.run()
	return st, nil
}

// submit takes the place of what has not been begun. It does not block.
func (s *storer) submit(stored member.Stored, sequence uint64) {
	select {
	case <-s.jobs:
	default:
	}
	s.jobs <- storeJob{stored, sequence}
	s.asked = sequence
}

// idle reports whether everything submitted is on disk.
func (s *storer) idle() bool { return s.written.Load() == s.asked }

// take clears fd and returns the sequence that is on disk.
func (s *storer) take() uint64 {
	var b [8]byte
	unix.RawSyscall(unix.SYS_READ, uintptr(s.fd), uintptr(unsafe.Pointer(&b)), 8)
	return s.written.Load()
}

func (s *storer) run() {
	defer close(s.ended)
	for job := range s.jobs {
		for !s.write(job) {
			select {
			case newer, open := <-s.jobs:
				if !open {
					return
				}
				job = newer
			case <-time.After(retryAfter):
			}
		}
	}
}

func (s *storer) write(job storeJob) bool {
	began := dataplane.Now()
	err := s.slots.write(appendStored(nil, &job.stored))
	s.slowest.Store(max(s.slowest.Load(), int64(dataplane.Now()-began)))
	if err != nil {
		text := fmt.Sprintf("write what must survive a restart: %v", err)
		s.failed.Store(&text)
	} else {
		s.failed.Store(nil)
		s.written.Store(job.sequence)
	}
	one := [8]byte{}
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(s.fd, one[:]) // full only where nobody has looked for 2^64 writes
	return err == nil
}

// longest returns how long a write took at worst since the last call.
func (s *storer) longest() time.Duration { return time.Duration(s.slowest.Swap(0)) }

// close waits until all is written that can be.
func (s *storer) close() {
	close(s.jobs)
	<-s.ended
	s.slots.close()
	unix.Close(s.fd)
}

// appendStored appends the record of a slot: the promised ballot, 8 bytes; the
// length of the view's header, 4 bytes; the header and the table, as in
// internal/member. Integers are big endian. Without a view it ends behind the
// ballot.
func appendStored(b []byte, s *member.Stored) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(s.Promised))
	if s.Accepted == nil {
		return b
	}
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = s.Accepted.ViewHeader.AppendBinary(b)
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return s.Accepted.AppendTable(b)
}

var errRecord = errors.New("what must survive a restart is in an unknown form")

func parseStored(b []byte, buckets int) (*member.Stored, error) {
	if len(b) < 8 {
		return nil, errRecord
	}
	s := &member.Stored{Promised: member.Epoch(binary.BigEndian.Uint64(b))}
	if b = b[8:]; len(b) == 0 {
		return s, nil
	}
	if len(b) < 4 || uint64(len(b)-4) < uint64(binary.BigEndian.Uint32(b)) {
		return nil, errRecord
	}
	header := b[4:][:binary.BigEndian.Uint32(b)]
	view, err := member.DecodeView(header, b[4+len(header):], buckets)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	s.Accepted = view
	return s, nil
}
