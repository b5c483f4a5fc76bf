package heartbeat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/shoal-net/shoal/internal/dataplane"
	"github.com/shoal-net/shoal/internal/member"
	"golang.org/x/sys/unix"
)

// One process goes on in the place of another over a stream socket between the
// two: the old one sends the member's state behind its length in 4 bytes, big
// endian, and stands still; the new one answers with `prepared` when it could go
// on, and does when it gets `go`. That is the point of no return: until then the
// old one goes on if anything fails, from then on it never does. Either end of
// the socket that closes tells the other one.
const (
	prepared = 'P'
	goOn     = 'G'
)

// maxSnapshot bounds what a process believes of another, in bytes.
const maxSnapshot = 64 << 20

// successor is the process that is to go on in the place of this one.
type successor struct {
	fd    int
	since time.Duration // when it was offered; 0: there is none
}

func (s *successor) offer(fd int, now time.Duration) {
	if s.since != 0 {
		unix.Close(s.fd)
	}
	s.fd, s.since = fd, now
}

// tryHandOver hands over as soon as everything that was promised is on disk.
func (p *process) tryHandOver() {
	s := &p.successor
	if s.since == 0 || p.ending.Kind != "" {
		return
	}
	now := dataplane.Now()
	if !p.store.idle() && now-s.since < time.Second {
		return // the event that says it is written comes here again
	}
	err := p.handOver(s.fd)
	unix.Close(s.fd)
	s.since = 0
	if err != nil {
		p.agent.tell(Event{Kind: Kept, Text: err.Error()})
		return
	}
	p.ending = Event{Kind: HandedOver}
}

// handOver waits for half a lease at most for each word of the other: what was
// granted to this node is not to run out meanwhile.
func (p *process) handOver(fd int) error {
	state, err := p.m.Snapshot()
	if err != nil {
		return err
	}
	limit := unix.NsecToTimeval(int64(p.cluster.Lease / 2))
	for _, option := range []int{unix.SO_SNDTIMEO, unix.SO_RCVTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &limit); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	// A duplicate: os.File closes its own.
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(dup), "successor")
	defer f.Close()
	if err := unix.SetNonblock(dup, false); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	message := append(binary.BigEndian.AppendUint32(nil, uint32(len(state))), state...)
	if _, err := f.Write(message); err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	if err := expect(f, prepared); err != nil {
		return fmt.Errorf("hand over: the new process is not prepared: %w", err)
	}
	if _, err := f.Write([]byte{goOn}); err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	return nil
}

// expect reads the one word that a process waits for.
func expect(f *os.File, word byte) error {
	said := []byte{0}
	if _, err := io.ReadFull(f, said); err != nil {
		return err
	}
	if said[0] != word {
		return fmt.Errorf("it said %d", said[0])
	}
	return nil
}

// takeOver goes on where the process before stops. Everything is set up
// between its last step and this one's first.
func (p *process) takeOver() error {
	f := os.NewFile(predecessorFD, "predecessor")
	defer f.Close()
	unix.CloseOnExec(predecessorFD)
	p.agent.tell(Event{Kind: Waiting})
	state, err := readSnapshot(f)
	if err != nil {
		return fmt.Errorf("take over: %w", err)
	}
	if _, err := p.openStore(); err != nil {
		return err
	}
	if p.control, err = dataplane.OpenControl(p.setup.Pins, p.cluster.Hash.Buckets); err != nil {
		return err
	}
	if p.m, err = member.Restore(MemberConfig(p.cluster), state, dataplane.Now(), random()); err != nil {
		return err
	}
	if _, err := f.Write([]byte{prepared}); err != nil {
		return fmt.Errorf("take over: %w", err)
	}
	if err := expect(f, goOn); err != nil {
		return fmt.Errorf("take over: the old process goes on: %w", err)
	}
	p.serving = p.m.Status(dataplane.Now()).LeaseLeft > 0
	return nil
}

func readSnapshot(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxSnapshot {
		return nil, errors.New("the state of the process before is too long")
	}
	state := make([]byte, n)
	_, err := io.ReadFull(r, state)
	return state, err
}
