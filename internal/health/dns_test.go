package health

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/shoal-net/shoal/internal/cluster"
)

// nameServer answers each query with what reply makes of it.
func nameServer(t *testing.T, reply func(q *dnsmessage.Message) [][]byte) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buffer := make([]byte, 512)
		for {
			n, peer, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var q dnsmessage.Message
			if err := q.Unpack(buffer[:n]); err != nil || len(q.Questions) != 1 || !q.RecursionDesired || q.Response {
				t.Errorf("a strange query: %+v, %v", q, err)
				continue
			}
			for _, packet := range reply(&q) {
				if _, err := conn.WriteTo(packet, peer); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	return addrPort(conn.LocalAddr())
}

var exampleName = dnsmessage.MustNewName("www.example.com.")

func record(body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: exampleName, Class: dnsmessage.ClassINET}, Body: body}
}

var (
	aRecord     = record(&dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}})
	cnameRecord = record(&dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("example.com.")})
)

// answer makes an answer to a query, changed by edit.
func answer(q *dnsmessage.Message, edit func(*dnsmessage.Message), records ...dnsmessage.Resource) []byte {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true}, Questions: q.Questions, Answers: records}
	if edit != nil {
		edit(&m)
	}
	packet, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return packet
}

func TestDNS(t *testing.T) {
	type message = dnsmessage.Message
	for _, tt := range []struct {
		name  string
		reply func(q *message) [][]byte
		want  string
	}{
		{"an answer", func(q *message) [][]byte { return [][]byte{answer(q, nil, aRecord)} }, ""},
		{"behind an alias", func(q *message) [][]byte { return [][]byte{answer(q, nil, cnameRecord, aRecord)} }, ""},
		{"an alias only", func(q *message) [][]byte { return [][]byte{answer(q, nil, cnameRecord)} }, "no A record in the answer"},
		{"none", func(q *message) [][]byte { return [][]byte{answer(q, nil)} }, "no A record in the answer"},
		{"too long", func(q *message) [][]byte {
			return [][]byte{answer(q, func(m *message) { m.Truncated = true })}
		}, ""},
		{"no such name", func(q *message) [][]byte {
			return [][]byte{answer(q, func(m *message) { m.RCode = dnsmessage.RCodeNameError })}
		}, "NXDOMAIN"},
		{"refused, question left out", func(q *message) [][]byte {
			return [][]byte{answer(q, func(m *message) { m.RCode, m.Questions = dnsmessage.RCodeRefused, nil })}
		}, "REFUSED"},
		{"a strange code", func(q *message) [][]byte {
			return [][]byte{answer(q, func(m *message) { m.RCode = 11 })}
		}, "response code 11"},
		{"others' first", func(q *message) [][]byte {
			other := []dnsmessage.Question{{Name: dnsmessage.MustNewName("a.example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}
			return [][]byte{
				nil, {1}, {0, 0, 0x80, 0},
				answer(q, func(m *message) { m.ID++; m.RCode = dnsmessage.RCodeRefused }),
				answer(q, func(m *message) { m.Response = false }),
				answer(q, func(m *message) { m.Questions = other }),
				answer(q, nil, aRecord),
			}
		}, ""},
		{"cut", func(q *message) [][]byte {
			packet := answer(q, nil, cnameRecord, aRecord)
			return [][]byte{packet[:len(packet)-20]}
		}, "a malformed answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := cluster.Check{Kind: cluster.CheckDNS, Name: "WWW.example.com.", Target: nameServer(t, tt.reply), Timeout: long}
			expectWords(t, ask(t, c), tt.want)
		})
	}
}

func TestDNSTypes(t *testing.T) {
	asked := make(chan dnsmessage.Type, 1)
	target := nameServer(t, func(q *dnsmessage.Message) [][]byte {
		typ := q.Questions[0].Type
		asked <- typ
		r := record(&dnsmessage.UnknownResource{Type: typ})
		return [][]byte{answer(q, nil, r)}
	})
	for typ := cluster.TypeA; typ <= cluster.TypeSRV; typ++ {
		c := cluster.Check{Kind: cluster.CheckDNS, Name: ".", Type: typ, Target: target, Timeout: long}
		expectWords(t, ask(t, c), "")
		if got := (<-asked).String(); got != "Type"+typ.String() {
			t.Errorf("asked for %s, want %s", got, typ)
		}
	}
}

func TestDNSFaults(t *testing.T) {
	mute := nameServer(t, func(*dnsmessage.Message) [][]byte { return nil })
	c := cluster.Check{Kind: cluster.CheckDNS, Name: "example.com.", Target: mute, Timeout: short}
	expectWords(t, ask(t, c), "no answer within 50ms")

	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	c.Target, c.Timeout = addrPort(conn.LocalAddr()), long
	expectWords(t, ask(t, c), "connection refused")
}

// FuzzDNS checks that no packet makes the check panic or go on for ever, and
// that only one with the query's id can pass it.
func FuzzDNS(f *testing.F) {
	q := query{id: 0x1234, name: exampleName, typ: dnsmessage.TypeA}
	asked := &dnsmessage.Message{
		Header:    dnsmessage.Header{ID: q.id},
		Questions: []dnsmessage.Question{{Name: q.name, Type: q.typ, Class: dnsmessage.ClassINET}},
	}
	f.Add(answer(asked, nil, cnameRecord, aRecord))
	f.Add(answer(asked, func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeNameError }))
	f.Add([]byte{0x12, 0x34, 0x80, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0xc0, 0x0c, 0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, packet []byte) {
		answers, err := q.judge(packet)
		if !answers && err != nil {
			t.Errorf("what is no answer has the fault %v", err)
		}
		if answers && (packet[0] != 0x12 || packet[1] != 0x34 || packet[2]&0x80 == 0) {
			t.Errorf("%x passes for an answer", packet)
		}
	})
}
