package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/capture"
)

const (
	progressWidth  = 30                     // columns of the bar
	progressPeriod = 100 * time.Millisecond // between two drawings
	progressStride = 1024                   // packets between two looks at the clock
)

// progress draws how far a capture has been read. Its zero value draws nothing.
type progress struct {
	terminal io.Writer
	size     int64 // of the capture in bytes; 0 if it is not known
	drawn    time.Time
}

// newProgress draws on w if that is a terminal.
func newProgress(w io.Writer, size int64) *progress {
	file, ok := w.(*os.File)
	if !ok {
		return &progress{}
	}
	if _, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS); err != nil {
		return &progress{}
	}
	return &progress{terminal: file, size: size}
}

func (p *progress) step(last capture.Packet) {
	if p.terminal == nil || last.Number%progressStride != 0 || time.Since(p.drawn) < progressPeriod {
		return
	}
	p.drawn = time.Now()
	fmt.Fprintf(p.terminal, "\r%s\x1b[K", progressLine(last.Number, last.Offset, p.size))
}

// end removes the bar.
func (p *progress) end() {
	if p.terminal != nil {
		fmt.Fprint(p.terminal, "\r\x1b[K")
	}
}

func progressLine(packets int, offset, size int64) string {
	if size <= 0 {
		return fmt.Sprintf("%d MB, %d packets", offset/1e6, packets)
	}
	offset = min(offset, size)
	full := int(offset * progressWidth / size)
	bar := strings.Repeat("#", full) + strings.Repeat(".", progressWidth-full)
	return fmt.Sprintf("[%s] %3d %%, %d packets", bar, offset*100/size, packets)
}
