package heartbeat

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// slots keep the newest of a row of records across crashes: in two files,
// written in turn, so that one of them is whole at any time.
//
// A slot, integers big endian:
//
//	 0  8  "shoalmem"
//	 8  4  version of the format, 1
//	12  4  length of the record in bytes
//	16  8  sequence: the higher one is the newer
//	24 16  whose it is: the first half of a SHA-256
//	40  n  the record
//	    32  SHA-256 of all before
type slots struct {
	files    [2]*os.File
	owner    [16]byte
	sequence uint64 // of the newest record
	buf      []byte
}

const (
	slotMagic   = "shoalmem"
	slotVersion = 1
	slotHeader  = 40
	// maxRecord holds a table of 65,536 buckets, each of which may move: 2
	// bytes of bucket and 8 of old owners beside its owner.
	maxRecord = 1 << 20
)

// Why a slot is not to be used.
var (
	errDamaged = errors.New("damaged")
	errForeign = errors.New("of another cluster or node")
)

// openSlots opens the slots in dir, and makes them where they are not. newest
// is nil where there is no record of owner's. problems say, then or besides,
// which slot is not to be used.
func openSlots(dir, owner string) (s *slots, newest []byte, problems []error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, nil, fmt.Errorf("make the directory of what must survive a restart: %w", err)
	}
	sum := sha256.Sum256([]byte(owner))
	s = &slots{owner: [16]byte(sum[:])}
	for i := range s.files {
		path := filepath.Join(dir, fmt.Sprintf("view.%d", i))
		if s.files[i], err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600); err != nil {
			s.close()
			return nil, nil, nil, fmt.Errorf("open what must survive a restart: %w", err)
		}
		sequence, record, err := readSlot(s.files[i], s.owner)
		switch {
		case errors.Is(err, errEmpty):
		case err != nil:
			problems = append(problems, fmt.Errorf("%s: %w", path, err))
		case newest == nil || sequence > s.sequence:
			s.sequence, newest = sequence, record
		}
	}
	return s, newest, problems, syncDir(dir)
}

var errEmpty = errors.New("empty")

func readSlot(f *os.File, owner [16]byte) (sequence uint64, record []byte, err error) {
	data, err := io.ReadAll(io.LimitReader(f, slotHeader+maxRecord+sha256.Size+1))
	if err != nil {
		return 0, nil, err
	}
	return parseSlot(data, owner)
}

// parseSlot fails with errEmpty, errForeign or errDamaged.
func parseSlot(data []byte, owner [16]byte) (sequence uint64, record []byte, err error) {
	if len(data) == 0 {
		return 0, nil, errEmpty
	}
	if len(data) < slotHeader+sha256.Size || string(data[:8]) != slotMagic {
		return 0, nil, errDamaged
	}
	body := data[:len(data)-sha256.Size]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], data[len(body):]) {
		return 0, nil, errDamaged
	}
	if binary.BigEndian.Uint32(body[8:]) != slotVersion {
		return 0, nil, fmt.Errorf("of another version of shoal: %w", errDamaged)
	}
	if int(binary.BigEndian.Uint32(body[12:])) != len(body)-slotHeader {
		return 0, nil, errDamaged
	}
	if [16]byte(body[24:]) != owner {
		return 0, nil, errForeign
	}
	return binary.BigEndian.Uint64(body[16:]), body[slotHeader:], nil
}

// appendSlot appends a slot to b.
func appendSlot(b []byte, sequence uint64, owner [16]byte, record []byte) []byte {
	start := len(b)
	b = append(b, slotMagic...)
	b = binary.BigEndian.AppendUint32(b, slotVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(len(record)))
	b = binary.BigEndian.AppendUint64(b, sequence)
	b = append(b, owner[:]...)
	b = append(b, record...)
	sum := sha256.Sum256(b[start:])
	return append(b, sum[:]...)
}

// write returns when the record would survive a loss of power.
func (s *slots) write(record []byte) error {
	if len(record) > maxRecord {
		return fmt.Errorf("a record of %d bytes: longer than %d", len(record), maxRecord)
	}
	next := s.sequence + 1
	f := s.files[next%2]
	s.buf = appendSlot(s.buf[:0], next, s.owner, record)
	if _, err := f.WriteAt(s.buf, 0); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(s.buf))); err != nil {
		return err
	}
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	s.sequence = next
	return nil
}

func (s *slots) close() {
	for _, f := range s.files {
		if f != nil {
			f.Close()
		}
	}
}

// syncDir makes sure that the files themselves survive.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
