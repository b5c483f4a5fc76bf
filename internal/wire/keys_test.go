package wire

import (
	"encoding/binary"
	"errors"
	"testing"
)

const (
	oldKey = "0123456789abcdef"
	newKey = "another key of a cluster"
)

// TestRotation takes the steps of a change of keys: at each, all nodes
// understand each other, wherever each of them is between two steps.
func TestRotation(t *testing.T) {
	m := samples()[0]
	steps := [][]string{{oldKey}, {oldKey, newKey}, {newKey, oldKey}, {newKey}}
	for i := range steps {
		for j := max(0, i-1); j < min(len(steps), i+2); j++ {
			var into Decoded
			if err := New("web", steps[j]).Decode(New("web", steps[i]).Append(nil, &m), &into); err != nil {
				t.Errorf("from a node at step %d to one at %d: %v", i, j, err)
			}
		}
	}
}

// TestSameKeyID finds a second key with the id of the first one.
func TestSameKeyID(t *testing.T) {
	first, m := New("web", []string{oldKey}), samples()[0]
	for i := range uint32(100_000) {
		twin := "a key of sixteen and more" + string(binary.BigEndian.AppendUint32(nil, i))
		c := New("web", []string{oldKey, twin})
		if c.keys[1].id != c.keys[0].id {
			continue
		}
		var into Decoded
		if err := c.Decode(New("web", []string{twin}).Append(nil, &m), &into); err != nil {
			t.Error(err)
		}
		if err := first.Decode(New("web", []string{twin}).Append(nil, &m), &into); !errors.Is(err, ErrKey) {
			t.Errorf("got %v, want %v", err, ErrKey)
		}
		return
	}
	t.Fatal("no two keys have one id")
}
