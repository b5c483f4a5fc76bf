package capture_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/shoal-net/shoal/internal/capture"
)

func files(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func create(t *testing.T) (w *capture.Writer, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "out.pcap")
	w, err := capture.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	return w, path
}

func packet(link layers.LinkType, data []byte) capture.Packet {
	return capture.Packet{Link: link, Data: data, Info: gopacket.CaptureInfo{CaptureLength: len(data), Length: len(data)}}
}

func TestWriterKeepsPackets(t *testing.T) {
	w, path := create(t)
	_, pcapng := three(t)
	r, err := capture.NewReader(bytes.NewReader(pcapng))
	if err != nil {
		t.Fatal(err)
	}
	var want []capture.Packet
	if _, err := capture.Share(r, node1, w.Write, func(p capture.Packet) {
		if p.Number == 3 {
			p.Data = bytes.Clone(p.Data)
			want = append(want, p)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if got := files(t, filepath.Dir(path)); got != "out.pcap.partial" {
		t.Errorf("before Commit: %s", got)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := files(t, filepath.Dir(path)); got != "out.pcap" {
		t.Errorf("after Commit: %s", got)
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := capture.NewReader(bytes.NewReader(written))
	if err != nil {
		t.Fatal(err)
	}
	p, err := again.Next()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p.Data, want[0].Data) || !p.Info.Timestamp.Equal(want[0].Info.Timestamp) ||
		p.Info.Length != want[0].Info.Length || p.Link != want[0].Link {
		t.Errorf("written %+v, read %+v", want[0], p)
	}
	if _, err := again.Next(); err != io.EOF {
		t.Errorf("behind the packet: %v", err)
	}
}

func TestWriterWithoutPackets(t *testing.T) {
	w, path := create(t)
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tally, _, err := share(t, file, node1)
	if err != nil || tally.Total().Packets != 0 {
		t.Errorf("%+v, %v", tally, err)
	}
}

func TestWriterAbort(t *testing.T) {
	w, path := create(t)
	if err := w.Write(packet(layers.LinkTypeRaw, ipPacket(t, "192.0.2.1"))); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if got := files(t, filepath.Dir(path)); got != "" {
		t.Errorf("left: %s", got)
	}
}

func TestWriterOneLinkType(t *testing.T) {
	w, _ := create(t)
	defer w.Abort()
	ip := ipPacket(t, "192.0.2.1")
	if err := w.Write(packet(layers.LinkTypeRaw, ip)); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(packet(layers.LinkTypeEthernet, ethernet(ip))); err == nil || !strings.Contains(err.Error(), "one link type") {
		t.Errorf("%v", err)
	}
}

func TestCreateBesideAnother(t *testing.T) {
	w, path := create(t)
	defer w.Abort()
	if _, err := capture.Create(path); err == nil || !strings.Contains(err.Error(), "out.pcap.partial exists: remove it") {
		t.Errorf("%v", err)
	}
}

func TestWriteErrorEndsShare(t *testing.T) {
	pcap, _ := three(t)
	r, err := capture.NewReader(bytes.NewReader(pcap))
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	_, err = capture.Share(r, node1, func(capture.Packet) error { return full }, func(capture.Packet) {})
	var failed *capture.WriteError
	if !errors.As(err, &failed) || !errors.Is(err, full) || !strings.HasPrefix(err.Error(), "packet 3, byte ") {
		t.Errorf("%v", err)
	}
}
