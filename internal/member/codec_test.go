package member

import (
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the encodings in testdata")

// sample returns a view none of whose fields is zero.
func sample() *View {
	h := ViewHeader{
		Epoch:      0x102,
		Parent:     ViewID{0x101, Digest{0xaa, 15: 0xbb}},
		Lineage:    0x1122334455667788,
		Voters:     0x8000000000000007,
		OldVoters:  3,
		VotersFrom: 0x101,
		Alone:      true,
		Done:       5,
		Table:      Digest{0xcc, 15: 0xdd},
		Reason:     "node 3 is silent",
	}
	h.Members[0] = Entry{Incarnation: 0x0102030405060708, State: Serving, Weight: 100}
	h.Members[1] = Entry{9, Draining, 1000, 64, 500, 3}
	h.Members[2] = Entry{Incarnation: 10, State: Lost}
	h.Members[63] = Entry{11, Leaving, 1, 1, 0, 2}
	return &View{
		ViewHeader: h,
		Owners:     []NodeID{1, 2, 64, 0},
		Moves:      []Move{{0, 1 << 63}, {3, 5}},
	}
}

// TestSampleIsFull fails where a field was added that nobody encodes yet.
func TestSampleIsFull(t *testing.T) {
	v := reflect.ValueOf(sample().ViewHeader)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s is zero: golden encodings say nothing of it", v.Type().Field(i).Name)
		}
	}
}

func TestGolden(t *testing.T) {
	v := sample()
	for name, b := range map[string][]byte{
		"header.hex": v.ViewHeader.AppendBinary(nil),
		"zero.hex":   (&ViewHeader{}).AppendBinary(nil),
		"table.hex":  v.AppendTable(nil),
	} {
		path := "testdata/" + name
		got := strings.Join(lines(hex.EncodeToString(b)), "\n") + "\n"
		if *update {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s: nodes of the version before read this differently; if that is meant, "+
				"the format needs a new version: %s", path, diff)
		}
	}
}

// lines divides a string into lines of 64 characters.
func lines(s string) (all []string) {
	for line := range slices.Chunk([]byte(s), 64) {
		all = append(all, string(line))
	}
	return all
}

func drawHeader(t *rapid.T) *ViewHeader {
	node := rapid.Uint8Range(1, MaxNodes)
	digests := rapid.Custom(func(t *rapid.T) Digest {
		return Digest(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "digest"))
	})
	set := rapid.Map(rapid.Uint64Min(1), func(s uint64) Set { return Set(s) })
	h := &ViewHeader{
		Lineage: rapid.Uint64().Draw(t, "lineage"),
		Voters:  set.Draw(t, "voters"), OldVoters: set.Draw(t, "old voters"),
		Alone: rapid.Bool().Draw(t, "alone"), Done: Set(rapid.Uint64().Draw(t, "done")),
		Table:  digests.Draw(t, "table"),
		Reason: rapid.StringOfN(rapid.RuneFrom([]rune("abc 0…é")), 0, -1, MaxReason).Draw(t, "reason"),
	}
	parent := rapid.Uint64Max(1<<40).Draw(t, "round of the parent")
	if parent > 0 {
		h.Parent = ViewID{Epoch(parent<<8) | Epoch(node.Draw(t, "proposer")), digests.Draw(t, "parent")}
	}
	h.Epoch = Epoch((parent+1)<<8) | Epoch(node.Draw(t, "proposer"))
	h.VotersFrom = Epoch(rapid.Uint64Range(0, parent).Draw(t, "round of the voters")<<8) | Epoch(node.Draw(t, "proposer"))
	for _, n := range rapid.SliceOfDistinct(node, rapid.ID).Draw(t, "members") {
		h.Members[n-1] = Entry{
			Incarnation: Incarnation(rapid.Uint64Min(1).Draw(t, "incarnation")),
			State:       rapid.SampledFrom([]State{Joining, Serving, Draining, Leaving, Fenced, Lost}).Draw(t, "state"),
			Weight:      rapid.Uint16Max(MaxWeight).Draw(t, "weight"),
			Drained:     rapid.Uint8Max(MaxNodes).Draw(t, "drained"),
			Ordered:     rapid.Uint16Max(MaxWeight).Draw(t, "ordered"),
			OrderedBy:   rapid.Uint8Range(1, MaxNodes).Draw(t, "ordered by"),
		}
	}
	return h
}

func TestHeaderRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHeader(t)
		b := h.AppendBinary([]byte("before"))
		got := ViewHeader{Reason: "of another view", Members: [MaxNodes]Entry{7: {Weight: 3}}}
		if err := got.DecodeBinary(b[len("before"):]); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(*h, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestZeroHeader(t *testing.T) {
	got := sample().ViewHeader
	if err := got.DecodeBinary((&ViewHeader{}).AppendBinary(nil)); err != nil || got != (ViewHeader{}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestLongestHeader(t *testing.T) {
	h := sample().ViewHeader
	for i := range h.Members {
		h.Members[i] = h.Members[0]
	}
	h.Reason = strings.Repeat("é", MaxReason/2)
	b := h.AppendBinary(nil)
	if len(b) != MaxHeaderSize {
		t.Errorf("%d bytes, want %d", len(b), MaxHeaderSize)
	}
	h.Reason = "x" + h.Reason // cut within a character
	var got ViewHeader
	if err := got.DecodeBinary(h.AppendBinary(nil)); err != nil || got.Reason != h.Reason[:MaxReason-1] {
		t.Errorf("got %q, %v", got.Reason, err)
	}
}

func TestHeaderCutOff(t *testing.T) {
	b := sample().ViewHeader.AppendBinary(nil)
	var h ViewHeader
	for n := range b {
		if err := h.DecodeBinary(b[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d of %d bytes: %v", n, len(b), err)
		}
	}
	if err := h.DecodeBinary(append(b, 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a byte too many: %v", err)
	}
}

func TestHeaderRefuses(t *testing.T) {
	for name, change := range map[string]func(*ViewHeader){
		"no epoch":                    func(h *ViewHeader) { h.Epoch, h.Parent = 0, ViewID{} },
		"proposed by nobody":          func(h *ViewHeader) { h.Epoch = 0x200 },
		"proposed by node 65":         func(h *ViewHeader) { h.Epoch = 0x241 },
		"parent of the same epoch":    func(h *ViewHeader) { h.Parent.Epoch = h.Epoch },
		"parent of nobody":            func(h *ViewHeader) { h.Parent.Epoch = 0x100 },
		"parent with a digest only":   func(h *ViewHeader) { h.Parent.Epoch = 0 },
		"no voters":                   func(h *ViewHeader) { h.Voters = 0 },
		"no old voters":               func(h *ViewHeader) { h.OldVoters = 0 },
		"unknown state":               func(h *ViewHeader) { h.Members[2].State = Lost + 1 },
		"weight 1001":                 func(h *ViewHeader) { h.Members[2].Weight = 1001 },
		"drained by node 65":          func(h *ViewHeader) { h.Members[2].Drained = 65 },
		"live without an incarnation": func(h *ViewHeader) { h.Members[0].Incarnation = 0 },
		"newline in the reason":       func(h *ViewHeader) { h.Reason = "a\nb" },
		"escape in the reason":        func(h *ViewHeader) { h.Reason = "a\x1b[2Jb" },
		"reason that is not UTF-8":    func(h *ViewHeader) { h.Reason = "a\xff" },
	} {
		h := sample().ViewHeader
		change(&h)
		var got ViewHeader
		if err := got.DecodeBinary(h.AppendBinary(nil)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHeaderRefusesBytes(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"unknown flag": func(b []byte) []byte { b[headerFlags] |= 4; return b },
		"zero entry":   func(b []byte) []byte { clear(b[headerFixed:][:entrySize]); return b },
		"reason of 161 bytes": func(b []byte) []byte {
			at := headerFixed + 4*entrySize
			return append(append(b[:at], MaxReason+1), strings.Repeat("x", MaxReason+1)...)
		},
	} {
		var got ViewHeader
		if err := got.DecodeBinary(change(sample().ViewHeader.AppendBinary(nil))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func drawTable(t *rapid.T) *View {
	v := &View{Owners: rapid.SliceOfN(rapid.Uint8Max(MaxNodes), 1, 300).Draw(t, "owners")}
	for b := range v.Owners {
		if rapid.IntRange(0, 3).Draw(t, "moves") == 0 {
			v.Moves = append(v.Moves, Move{uint16(b), Set(rapid.Uint64Min(1).Draw(t, "old"))})
		}
	}
	return v
}

func TestTableRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawTable(t)
		b := v.AppendTable([]byte("before"))[len("before"):]
		owners, moves, err := DecodeTable(b, len(v.Owners))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(owners, v.Owners) || !slices.Equal(moves, v.Moves) {
			t.Errorf("got %v, %v", owners, moves)
		}
	})
}

func TestTableRefuses(t *testing.T) {
	b := sample().AppendTable(nil)
	for n := range b {
		if _, _, err := DecodeTable(b[:n], 4); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d of %d bytes: %v", n, len(b), err)
		}
	}
	for name, tt := range map[string]struct {
		change  func(*View)
		buckets int
	}{
		"another number of buckets":    {func(*View) {}, 5},
		"fewer than none":              {func(*View) {}, -1},
		"node 65":                      {func(v *View) { v.Owners[3] = 65 }, 4},
		"moves out of order":           {func(v *View) { v.Moves[0].Bucket = 3 }, 4},
		"a bucket that does not exist": {func(v *View) { v.Moves[1].Bucket = 4 }, 4},
		"moves from nobody":            {func(v *View) { v.Moves[1].Old = 0 }, 4},
	} {
		v := sample()
		tt.change(v)
		if owners, moves, err := DecodeTable(v.AppendTable(nil), tt.buckets); !errors.Is(err, ErrMalformed) || owners != nil || moves != nil {
			t.Errorf("%s: %v, %v, %v", name, owners, moves, err)
		}
	}
	if _, _, err := DecodeTable(append(b, 0), 4); !errors.Is(err, ErrMalformed) {
		t.Errorf("a byte too many: %v", err)
	}
}

func TestDecodeView(t *testing.T) {
	want := sample()
	table := want.AppendTable(nil)
	want.Table = digest(table)
	header := want.ViewHeader.AppendBinary(nil)
	want.Digest = digest(header)
	got, err := DecodeView(header, table, 4)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(View{})); err != nil || diff != "" {
		t.Error(err, diff)
	}
	other := append(table[:0:0], table...)
	other[0] = 3
	for name, tt := range map[string]struct {
		header, table []byte
		buckets       int
	}{
		"table of another view":     {header, other, 4},
		"header cut off":            {header[:50], table, 4},
		"another number of buckets": {header, table, 3},
	} {
		if got, err := DecodeView(tt.header, tt.table, tt.buckets); !errors.Is(err, ErrMalformed) || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// FuzzDecodeHeader checks that no two encodings mean one header: its digest
// would not be its name.
func FuzzDecodeHeader(f *testing.F) {
	f.Add(sample().ViewHeader.AppendBinary(nil))
	f.Add((&ViewHeader{}).AppendBinary(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var h ViewHeader
		if err := h.DecodeBinary(b); err != nil {
			return
		}
		if again := h.AppendBinary(nil); !slices.Equal(again, b) {
			t.Errorf("%x was read, %x is written", b, again)
		}
	})
}

func FuzzDecodeTable(f *testing.F) {
	f.Add(sample().AppendTable(nil), 4)
	f.Fuzz(func(t *testing.T, b []byte, buckets int) {
		v := View{}
		var err error
		if v.Owners, v.Moves, err = DecodeTable(b, buckets); err != nil {
			return
		}
		if again := v.AppendTable(nil); !slices.Equal(again, b) {
			t.Errorf("%x was read, %x is written", b, again)
		}
	})
}
