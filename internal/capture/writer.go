package capture

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// maxSnapLength is the longest packet that libpcap's tools read
// (MAXIMUM_SNAPLEN in libpcap).
const maxSnapLength = 262144

// WriteError is an error in writing a capture, as against reading one.
type WriteError struct{ Err error }

func (e *WriteError) Error() string { return e.Err.Error() }

// Unwrap returns what went wrong.
func (e *WriteError) Unwrap() error { return e.Err }

// Writer writes a pcap file with times in nanoseconds. The file has its name
// only from Commit on; before, it is called NAME.partial, so that nobody takes
// a part for the whole.
type Writer struct {
	path    string
	file    *os.File
	buffer  *bufio.Writer
	pcap    *pcapgo.Writer
	link    layers.LinkType
	started bool // the file header, with the link type, is written
}

// Create begins a file.
func Create(path string) (*Writer, error) {
	file, err := os.OpenFile(path+".partial", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("write %s: %s.partial exists: remove it if no other run is writing it", path, path)
	}
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	buffer := bufio.NewWriterSize(file, 1<<16)
	return &Writer{path: path, file: file, buffer: buffer, pcap: pcapgo.NewWriterNanos(buffer)}, nil
}

// Write adds a packet. A pcap file holds packets of one link type only.
func (w *Writer) Write(p Packet) error {
	if !w.started {
		if err := w.start(p.Link); err != nil {
			return err
		}
	}
	if p.Link != w.link {
		return fmt.Errorf("write %s: link type %s, but earlier packets have %s, and a pcap file holds one link type",
			w.path, p.Link, w.link)
	}
	if p.Info.Timestamp.IsZero() { // pcapng's simple packets; pcapgo would put the time of writing
		p.Info.Timestamp = time.Unix(0, 0)
	}
	if err := w.pcap.WritePacket(p.Info, p.Data); err != nil {
		return fmt.Errorf("write %s: %w", w.path, err)
	}
	return nil
}

func (w *Writer) start(link layers.LinkType) error {
	w.started, w.link = true, link
	if err := w.pcap.WriteFileHeader(maxSnapLength, link); err != nil {
		return fmt.Errorf("write %s: %w", w.path, err)
	}
	return nil
}

// Commit ends the file and gives it its name. On an error nothing is left.
func (w *Writer) Commit() error {
	var err error
	if !w.started {
		err = w.start(layers.LinkTypeEthernet) // a capture without packets must name one, too
	}
	if err == nil {
		err = w.buffer.Flush()
	}
	if err = errors.Join(err, w.file.Close()); err == nil {
		err = os.Rename(w.file.Name(), w.path)
	}
	if err != nil {
		os.Remove(w.file.Name())
		return fmt.Errorf("write %s: %w", w.path, err)
	}
	return nil
}

// Abort removes the file.
func (w *Writer) Abort() {
	w.file.Close()
	os.Remove(w.file.Name())
}
