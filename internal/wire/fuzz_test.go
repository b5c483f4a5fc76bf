package wire

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzDecode reads frames as they come off the network, and with the code put
// right, so that bodies are reached.
func FuzzDecode(f *testing.F) {
	c := New("web", []string{oldKey, newKey})
	for _, m := range samples() {
		frame := c.Append(nil, &m)
		f.Add(frame[:len(frame)-macSize], false)
		f.Add(frame[:len(frame)-macSize], true)
		f.Add(frame, false)
	}
	known := []error{ErrMagic, ErrTruncated, ErrVersion, ErrCluster, ErrKey, ErrMalformed}
	f.Fuzz(func(t *testing.T, frame []byte, sealed bool) {
		if sealed {
			frame = seal(c, slices.Clone(frame))
		}
		var first, second Decoded
		if err := c.Decode(frame, &first); err != nil {
			if !slices.ContainsFunc(known, func(is error) bool { return errors.Is(err, is) }) {
				t.Errorf("unknown error %v", err)
			}
			return
		}
		if !sealed {
			return
		}
		if err := c.Decode(c.Append(nil, &first.Message), &second); err != nil {
			t.Fatalf("what was read cannot be sent: %v", err)
		}
		if diff := cmp.Diff(first.Message, second.Message); diff != "" {
			t.Error(diff)
		}
	})
}
