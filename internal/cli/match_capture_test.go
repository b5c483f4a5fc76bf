package cli

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/sys/unix"
)

// datagram returns an empty IPv4 packet.
func datagram(source string) []byte {
	from := netip.MustParseAddr(source).As4()
	p := make([]byte, 20)
	p[0], p[3] = 0x45, 20
	copy(p[12:], from[:])
	return p
}

// writeCapture writes a raw IP capture with count rounds of two packets of
// 192.0.2.2 (node 1's) and one of 192.0.2.1 (node 2's); data is its bytes.
func writeCapture(t *testing.T, count int) (path string, data []byte) {
	t.Helper()
	var file bytes.Buffer
	w := pcapgo.NewWriter(&file)
	err := w.WriteFileHeader(65536, layers.LinkTypeRaw)
	for range count {
		for _, source := range []string{"192.0.2.2", "192.0.2.1", "192.0.2.2"} {
			if err == nil {
				err = w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: 20, Length: 20}, datagram(source))
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "in.pcap")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, file.Bytes()
}

// report is printed output with its white space made single.
func report(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "; ")
}

const anyNode = "match " + total + "2 " + seed + "0xdeadbeef "

func TestMatchCapture(t *testing.T) {
	in, data := writeCapture(t, 1)
	const nodes = "NODE PACKETS SHARE BYTES; 1 2 66.7 % 40; 2 1 33.3 % 20; "
	for _, c := range []struct{ name, args, stdin, stdout string }{
		{"no local node", anyNode + "-r " + in, "", nodes + "not IP 0 0; all 3 60"},
		{"local node", first + "-r " + in, "", nodes + "this node 2 66.7 % 40; not IP 0 0; all 3 60"},
		{"inverted", "match " + total + "2 ! " + node + "1 " + seed + "0xdeadbeef -r " + in, "",
			nodes + "this node 1 33.3 % 20; not IP 0 0; all 3 60"},
		{"standard input", anyNode + "-r -", string(data), nodes + "not IP 0 0; all 3 60"},
		{"no packets", anyNode + "-r -", string(data[:24]), "NODE PACKETS SHARE BYTES; 1 0 0.0 % 0; 2 0 0.0 % 0; not IP 0 0; all 0 0"},
	} {
		status, stdout, stderr := run(t, c.stdin, c.args)
		if status != 0 || stderr != "" || report(stdout) != c.stdout {
			t.Errorf("%s: status %d, %q\n%s, want\n%s", c.name, status, stderr, report(stdout), c.stdout)
		}
	}
}

func TestMatchWritesShare(t *testing.T) {
	in, data := writeCapture(t, 3)
	dir := t.TempDir()
	out := filepath.Join(dir, "out.pcap")
	if status, _, stderr := run(t, "", first+"-r "+in+" -w "+out); status != 0 || stderr != "" {
		t.Fatalf("status %d, %s", status, stderr)
	}
	_, stdout, _ := run(t, "", first+"-r "+out)
	if want := "NODE PACKETS SHARE BYTES; 1 6 100.0 % 120; 2 0 0.0 % 0; this node 6 100.0 % 120; not IP 0 0; all 6 120"; report(stdout) != want {
		t.Errorf("written: %s, want %s", report(stdout), want)
	}

	// Cut short: the good part is reported and kept, and nobody can take it
	// for the whole.
	status, stdout, stderr := run(t, string(data[:len(data)-1]), first+"-r - -w "+out)
	if status != exitFailed || !strings.Contains(report(stdout), "this node 5 62.5 % 100; not IP 0 0; all 8 160") {
		t.Errorf("cut short: status %d, %s", status, report(stdout))
	}
	if want := "shoal: -: packet 9, byte 312: the capture is cut short here\nshoal: " + out +
		": is this node's share of the 8 packets that could be read, not of the whole capture\n"; stderr != want {
		t.Errorf("cut short: %q, want %q", stderr, want)
	}
	if _, stdout, _ := run(t, "", first+"-r "+out); !strings.Contains(report(stdout), "all 5 100") {
		t.Errorf("kept: %s", report(stdout))
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left: %v", entries)
	}
}

func TestMatchCaptureErrors(t *testing.T) {
	in, data := writeCapture(t, 1)
	wireless := bytes.Clone(data)
	binary.LittleEndian.PutUint32(wireless[20:], uint32(layers.LinkTypeIEEE802_11))
	out := filepath.Join(t.TempDir(), "out.pcap")
	for _, c := range []struct {
		name, args, stdin string
		status            int
		stderr            string
	}{
		{"no file", anyNode + "-r /nonexistent", "", exitFailed, "open /nonexistent: no such file"},
		{"no capture", anyNode + "-r -", "hello", exitFailed, "-: neither a pcap nor a pcapng file"},
		{"empty", anyNode + "-r -", "", exitFailed, "-: the capture is empty"},
		{"link type", first + "-r - -w " + out, string(wireless), exitFailed, "-: file header: link type 105 (802.11) is not supported: only Ethernet"},
		{"no directory", first + "-w /nonexistent/x -r " + in, "", exitFailed, "write /nonexistent/x: "},
		{"itself", first + "-w " + in + " -r " + in, "", exitUsage, "is the capture that -r reads"},
	} {
		status, stdout, stderr := run(t, c.stdin, c.args)
		if status != c.status || stdout != "" || !strings.Contains(stderr, c.stderr) {
			t.Errorf("%s: status %d, %q, %q; want %d, %s", c.name, status, stdout, stderr, c.status, c.stderr)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a file was written")
	}
	if got, err := os.ReadFile(in); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the capture was changed: %v", err)
	}
}

// A pcapng file may have interfaces of several kinds.
func TestMatchUnknownLinkAmongOthers(t *testing.T) {
	var file bytes.Buffer
	w, err := pcapgo.NewNgWriter(&file, layers.LinkTypeRaw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddInterface(pcapgo.NgInterface{LinkType: layers.LinkTypeIEEE802_11}); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		ci := gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: 20, Length: 20, InterfaceIndex: i % 2}
		if err := w.WritePacket(ci, datagram("192.0.2.2")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := run(t, file.String(), anyNode+"-r -")
	if status != exitFailed || !strings.Contains(report(stdout), "1 2 100.0 % 40; 2 0 0.0 % 0; not IP 0 0; unknown link 2 40; all 4 80") {
		t.Errorf("status %d, %s", status, report(stdout))
	}
	if !strings.HasPrefix(stderr, "shoal: -: packet 2, byte ") || !strings.Contains(stderr, "link type 105 (802.11) is not supported") {
		t.Errorf("%s", stderr)
	}
}

func TestMatchInterruptedCapture(t *testing.T) {
	_, data := writeCapture(t, 1)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	stdin, feed := io.Pipe()
	var stdout, stderr bytes.Buffer
	status := make(chan int)
	go func() {
		args := strings.Fields(first + "-r - -w " + filepath.Join(dir, "out.pcap"))
		status <- Run(ctx, &Env{Stdin: stdin, Stdout: &stdout, Stderr: &stderr}, args)
	}()
	if _, err := feed.Write(data); err != nil { // and more to come
		t.Fatal(err)
	}
	cancel()
	if got := <-status; got != exitFailed || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("status %d, %q", got, stderr.String())
	}
	feed.Close()
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left: %v", entries)
	}
}

func TestMatchProgress(t *testing.T) {
	in, _ := writeCapture(t, progressStride)
	controller, terminal := openTerminal(t)
	var stdout bytes.Buffer
	if status := Run(context.Background(), &Env{Stdout: &stdout, Stderr: terminal}, strings.Fields(anyNode+"-r "+in)); status != 0 {
		t.Fatalf("status %d", status)
	}
	terminal.Close()
	drawn, _ := io.ReadAll(controller) // ends with EIO when the terminal is closed
	if !bytes.HasPrefix(drawn, []byte("\r[#########.....................]  33 %, 1024 packets\x1b[K")) || !bytes.HasSuffix(drawn, []byte("\r\x1b[K")) {
		t.Errorf("%q", drawn)
	}
}

// openTerminal opens a pseudo terminal, ptmx(4).
func openTerminal(t *testing.T) (controller, terminal *os.File) {
	t.Helper()
	controller, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { controller.Close() })
	fd := int(controller.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return controller, terminal
}

func TestProgressLine(t *testing.T) {
	for _, c := range []struct {
		packets      int
		offset, size int64
		want         string
	}{
		{10, 0, 100, "[" + strings.Repeat(".", 30) + "]   0 %, 10 packets"},
		{10, 50, 100, "[" + strings.Repeat("#", 15) + strings.Repeat(".", 15) + "]  50 %, 10 packets"},
		{10, 100, 100, "[" + strings.Repeat("#", 30) + "] 100 %, 10 packets"},
		{10, 300, 100, "[" + strings.Repeat("#", 30) + "] 100 %, 10 packets"}, // it has grown meanwhile
		{10, 2_500_000, 0, "2 MB, 10 packets"},
	} {
		if got := progressLine(c.packets, c.offset, c.size); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
