package failover

import (
	"bytes"
	"io"
	"regexp"
	"sync"
)

// views counts the views that nodes say in their logs that they act on. Epochs
// do not tell: a proposal that nobody accepts takes one, too.
type views struct {
	to io.Writer // or nil

	mu   sync.Mutex
	rest []byte // a line whose end has not come
	seen map[string]bool
}

var viewLine = regexp.MustCompile(`msg="?view ([0-9]+\.[0-9]+)`)

// Write takes whole lines or parts of them, of one node after the other.
func (v *views) Write(b []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rest = append(v.rest, b...)
	for {
		line, rest, found := bytes.Cut(v.rest, []byte("\n"))
		if !found {
			break
		}
		v.rest = rest
		if m := viewLine.FindSubmatch(line); m != nil {
			v.seen[string(m[1])] = true
		}
	}
	if v.to == nil {
		return len(b), nil
	}
	return v.to.Write(b)
}

func (v *views) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.seen)
}
