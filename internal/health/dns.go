package health

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/shoal-net/shoal/internal/cluster"
)

var dnsTypes = map[cluster.DNSType]dnsmessage.Type{
	cluster.TypeA: dnsmessage.TypeA, cluster.TypeAAAA: dnsmessage.TypeAAAA, cluster.TypeNS: dnsmessage.TypeNS,
	cluster.TypeCNAME: dnsmessage.TypeCNAME, cluster.TypeSOA: dnsmessage.TypeSOA, cluster.TypePTR: dnsmessage.TypePTR,
	cluster.TypeMX: dnsmessage.TypeMX, cluster.TypeTXT: dnsmessage.TypeTXT, cluster.TypeSRV: dnsmessage.TypeSRV,
}

// rcodes are the names that tools show (RFC 1035, 4.1.1).
var rcodes = map[dnsmessage.RCode]string{
	dnsmessage.RCodeFormatError: "FORMERR", dnsmessage.RCodeServerFailure: "SERVFAIL", dnsmessage.RCodeNameError: "NXDOMAIN",
	dnsmessage.RCodeNotImplemented: "NOTIMP", dnsmessage.RCodeRefused: "REFUSED",
}

// dnsProbe asks whether a query, by UDP, has an answer of its type.
func dnsProbe(c cluster.Check) probe {
	return func(ctx context.Context) error {
		q := query{id: uint16(rand.Uint32()), typ: dnsTypes[c.Type]}
		var err error
		if q.name, err = dnsmessage.NewName(c.Name); err != nil {
			return err
		}
		packet, err := q.pack()
		if err != nil {
			return err
		}
		conn, err := dial(ctx, "udp", c)
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write(packet); err != nil {
			return err
		}
		return q.await(conn)
	}
}

// query is one question to a server.
type query struct {
	id   uint16
	name dnsmessage.Name
	typ  dnsmessage.Type
}

func (q query) pack() ([]byte, error) {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: q.id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: q.name, Type: q.typ, Class: dnsmessage.ClassINET}},
	}
	return m.Pack()
}

// await reads until the answer has come.
func (q query) await(conn net.Conn) error {
	buffer := make([]byte, 4096) // a server without the query's leave sends 512 at most
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return err
		}
		if answers, err := q.judge(buffer[:n]); answers {
			return err
		}
	}
}

// judge says whether a packet answers the query, and what is wrong with the
// answer. What does not answer it may be late, or a stranger's.
func (q query) judge(packet []byte) (answers bool, err error) {
	var p dnsmessage.Parser
	header, err := p.Start(packet)
	if err != nil || header.ID != q.id || !header.Response {
		return false, nil
	}
	if header.RCode != dnsmessage.RCodeSuccess {
		if name, ok := rcodes[header.RCode]; ok {
			return true, errors.New(name)
		}
		return true, fmt.Errorf("response code %d", header.RCode)
	}
	asked, err := p.Question()
	if err != nil || asked.Type != q.typ || asked.Class != dnsmessage.ClassINET ||
		!strings.EqualFold(asked.Name.String(), q.name.String()) {
		return false, nil
	}
	if err := p.SkipAllQuestions(); err != nil {
		return true, fmt.Errorf("a malformed answer: %w", err)
	}
	for {
		record, err := p.AnswerHeader()
		switch {
		case errors.Is(err, dnsmessage.ErrSectionDone) && header.Truncated:
			return true, nil // there is more than fits into a datagram
		case errors.Is(err, dnsmessage.ErrSectionDone):
			return true, fmt.Errorf("no %s record in the answer", strings.TrimPrefix(q.typ.String(), "Type"))
		case err != nil:
			return true, fmt.Errorf("a malformed answer: %w", err)
		case record.Type == q.typ:
			return true, nil
		}
		if err := p.SkipAnswer(); err != nil {
			return true, fmt.Errorf("a malformed answer: %w", err)
		}
	}
}
