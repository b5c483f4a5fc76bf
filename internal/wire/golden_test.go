package wire

import (
	"encoding/hex"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-net/shoal/internal/member"
)

var update = flag.Bool("update", false, "rewrite the frames in testdata")

// samples returns a message of each kind, no field of which is zero.
func samples() []member.Message {
	accepted := member.ViewID{Epoch: 0x0301, Digest: member.Digest{0xaa, 15: 0xbb}}
	active := member.ViewID{Epoch: 0x0202, Digest: member.Digest{0xcc, 15: 0xdd}}
	heartbeat := &member.Heartbeat{
		Previous: 0x1111111111111111, Sent: 12 * time.Second, State: member.Draining, Fit: true, Amnesiac: true, Alone: true,
		Listed: 7, Settings: member.Settings{0x01020304, 15: 0x05060708}, Carrier: 3, Suspects: 4, Weight: 1000,
		Limit: 500, Order: member.Order{Kind: member.SetWeight, Node: 2, Weight: 50},
		Promised: 0x0403, Accepted: accepted, Ended: 6, Grants: 0x2222222222222223, Granted: 3, Active: active, Lineage: 0x4444444444444445, Acting: 5,
		LeaseLeft: -time.Millisecond, Lateness: 30 * time.Microsecond,
	}
	heartbeat.Echoes[1] = member.Echo{Incarnation: 0x3333333333333333, Sent: 11 * time.Second, Heard: 1}
	heartbeat.Echoes[63] = member.Echo{Heard: 0x80}
	view := &member.ViewHeader{
		Epoch: 0x0301, Parent: active, Lineage: 5, Voters: 7, OldVoters: 3, VotersFrom: 0x0202, Alone: true, Done: 6,
		Table: member.Digest{0xee, 15: 0xff}, Reason: "node 3 joins",
	}
	view.Members[2] = member.Entry{Incarnation: 6, State: member.Serving, Weight: 100, Drained: 1, Ordered: 50, OrderedBy: 2}
	bodies := []member.Body{
		heartbeat, view,
		&member.Fetch{To: 2, View: accepted, From: 16},
		&member.Drained{View: accepted, From: 8192, Bits: []byte{5}},
		&member.Chunk{View: accepted, Index: 2, Total: 3, Data: []byte{1, 1, 2, 2}},
		&member.FlowFetch{To: 2, View: accepted, After: 13 * time.Second, From: 16},
		&member.FlowChunk{View: accepted, Taken: 14 * time.Second, Index: 2, Total: 3, Data: flows()},
	}
	var messages []member.Message
	for _, body := range bodies {
		messages = append(messages, member.Message{From: 3, Incarnation: 0x0102030405060708, Body: body})
	}
	return messages
}

// flows is a flow of each kind, encoded.
func flows() (data []byte) {
	for _, f := range []member.Flow{
		{Client: netip.MustParseAddrPort("192.0.2.1:4001"), Server: netip.MustParseAddrPort("192.0.2.10:53"), Bucket: 65535},
		{Client: netip.MustParseAddrPort("[2001:db8::1]:4002"), Server: netip.MustParseAddrPort("[2001:db8::10]:443"), Bucket: 1},
	} {
		data = member.AppendFlow(data, f)
	}
	return data
}

// TestGolden keeps nodes of different builds able to talk to each other.
func TestGolden(t *testing.T) {
	c := New("web", []string{oldKey})
	for _, m := range samples() {
		name := strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", m.Body), "*member."))
		path := filepath.Join("testdata", name+".hex")
		if *update {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(dump(c.Append(nil, &m))), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(text), dump(c.Append(nil, &m))); diff != "" {
			t.Errorf("%s: nodes of the version before read this differently; if that is meant, "+
				"the format needs a new version: %s", path, diff)
		}
		frame, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		var into Decoded
		if err := c.Decode(frame, &into); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if diff := cmp.Diff(m, into.Message); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}

// dump writes bytes in hex, 32 to a line.
func dump(b []byte) string {
	var s strings.Builder
	for ; len(b) > 32; b = b[32:] {
		fmt.Fprintf(&s, "%x\n", b[:32])
	}
	fmt.Fprintf(&s, "%x\n", b)
	return s.String()
}
