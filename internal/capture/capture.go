// Package capture reads packet captures (pcap and pcapng), shares their
// packets out to the nodes of a cluster, and writes one node's share. Memory
// does not grow with the length of a capture.
package capture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Magic numbers of capture files, as read in big-endian order
// (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng).
const (
	magicMicroseconds        = 0xa1b2c3d4
	magicMicrosecondsSwapped = 0xd4c3b2a1
	magicNanoseconds         = 0xa1b23c4d
	magicNanosecondsSwapped  = 0x4d3cb2a1
	magicNg                  = 0x0a0d0d0a
)

// Packet is a packet of a capture. Its data is valid until the next one is
// read.
type Packet struct {
	Number int   // in the capture, from 1
	Offset int64 // where the reader stood before it, in bytes from the start of the capture
	Link   layers.LinkType
	Info   gopacket.CaptureInfo
	Data   []byte
}

// Reader reads a capture packet by packet.
type Reader struct {
	in      *bufio.Reader
	taken   *counter // what in has taken from the source
	read    func() ([]byte, gopacket.CaptureInfo, error)
	link    layers.LinkType // of a pcap file
	mixed   bool            // pcapng: each packet has its own link type
	packets int
}

// counter counts the bytes that are read through it.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// NewReader reads the file header of a capture. A pcap file with a link type
// that Source does not know is refused with a *LinkTypeError.
func NewReader(source io.Reader) (*Reader, error) {
	taken := &counter{r: source}
	// pcapgo uses a large enough bufio.Reader as it is, so that offsets can
	// be told from what is left in it.
	r := &Reader{in: bufio.NewReaderSize(taken, 1<<16), taken: taken}
	magic, err := r.in.Peek(4)
	if len(magic) == 0 && err == io.EOF {
		return nil, errors.New("the capture is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("file header: %w", cutShort(err))
	}
	switch m := binary.BigEndian.Uint32(magic); m {
	case magicMicroseconds, magicMicrosecondsSwapped, magicNanoseconds, magicNanosecondsSwapped:
		file, err := pcapgo.NewReader(r.in)
		if err != nil {
			return nil, fmt.Errorf("file header: %w", cutShort(err))
		}
		r.read, r.link = file.ZeroCopyReadPacketData, file.LinkType()
		if !known(r.link) {
			return nil, fmt.Errorf("file header: %w", &LinkTypeError{r.link})
		}
	case magicNg:
		file, err := pcapgo.NewNgReader(r.in, pcapgo.NgReaderOptions{WantMixedLinkType: true})
		if err != nil {
			return nil, fmt.Errorf("file header: %w", cutShort(err))
		}
		r.read, r.mixed = file.ZeroCopyReadPacketData, true
	default:
		return nil, fmt.Errorf("neither a pcap nor a pcapng file (it begins with %08x)", m)
	}
	return r, nil
}

// errCutShort is what a truncated capture ends with.
var errCutShort = errors.New("the capture is cut short here")

func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCutShort
	}
	return err
}

// Offset returns how many bytes of the capture have been read.
func (r *Reader) Offset() int64 { return r.taken.n - int64(r.in.Buffered()) }

// Next returns the next packet, or io.EOF after the last. Other errors say
// which packet could not be read and where; there is no going on after one.
func (r *Reader) Next() (Packet, error) {
	p := Packet{Number: r.packets + 1, Offset: r.Offset(), Link: r.link}
	var err error
	p.Data, p.Info, err = r.read()
	if err == io.EOF && (r.mixed || r.Offset() == p.Offset) {
		return Packet{}, io.EOF
	}
	if err != nil {
		return Packet{}, p.errorf("%w", cutShort(err))
	}
	r.packets++
	if r.mixed {
		p.Link = p.Info.AncillaryData[0].(layers.LinkType)
	}
	p.Info.Length = max(p.Info.Length, p.Info.CaptureLength)
	return p, nil
}

// errorf says where in the capture an error belongs.
func (p Packet) errorf(format string, args ...any) error {
	return fmt.Errorf("packet %d, byte %d: %w", p.Number, p.Offset, fmt.Errorf(format, args...))
}
