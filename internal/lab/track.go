package lab

import (
	"fmt"
	"math/bits"
	"net/netip"
	"sync"
	"time"
)

// Kind is a kind of request.
type Kind uint8

// The kinds of requests.
const (
	TCP  Kind = iota // a connection, a line there, a line back
	UDP              // a datagram there, a datagram back
	Ping             // ICMP echo
	HTTP             // GET / over a connection of its own
	kinds
)

var kindWords = [kinds]string{"tcp", "udp", "ping", "http"}

func (k Kind) String() string { return kindWords[k] }

// MarshalText gives the kind's word, as in JSON keys.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText parses a kind's word.
func (k *Kind) UnmarshalText(b []byte) error {
	for i, word := range kindWords {
		if word == string(b) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no kind of request", b)
}

// A key tells requests apart on the wire: the client's port, or the
// identifier of an echo.
type key struct {
	protocol uint8 // as in the IP header; both ICMPs are protoICMP
	client   netip.Addr
	id       uint16
}

// Protocol numbers, IANA.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

func (k Kind) protocol() uint8 {
	switch k {
	case Ping:
		return protoICMP
	case UDP:
		return protoUDP
	default:
		return protoTCP
	}
}

// A request is one request on its way.
type request struct {
	kind   Kind
	key    key
	target netip.Addr

	// Below: under the tracker's lock while the request is pending.
	start   time.Time
	rtt     time.Duration // to the first answer
	answers int
	nodes   uint64        // bit n-1: node n had it
	first   chan struct{} // closed with the first answer
}

// handlers is the number of nodes that had the request.
func (r *request) handlers() int { return bits.OnesCount64(r.nodes) }

// A tracker knows the requests on their way. Services, captures and probes
// tell it what they see.
type tracker struct {
	mu      sync.Mutex
	pending map[key]*request
	used    map[netip.Addr]uint16 // the latest id of each client
}

// Ids of requests, which are also the clients' ports: below those that the
// kernel hands out. They are used in turn, so that none comes back while the
// connection that had it waits in TIME_WAIT.
const (
	minID = 8192
	maxID = 32767
)

func newTracker() *tracker {
	return &tracker{pending: map[key]*request{}, used: map[netip.Addr]uint16{}}
}

// begin notes a request that is about to be sent, and gives it an id.
func (t *tracker) begin(kind Kind, client, target netip.Addr) *request {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := t.used[client] + 1
	if id < minID || id > maxID {
		id = minID
	}
	t.used[client] = id
	r := &request{kind: kind, key: key{kind.protocol(), client, id}, target: target,
		start: time.Now(), first: make(chan struct{})}
	t.pending[r.key] = r
	return r
}

// end takes a request out; afterwards it changes no more.
func (t *tracker) end(r *request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.pending, r.key)
}

// handled notes that a node had a request. Unknown ones are ignored.
func (t *tracker) handled(k key, node int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.pending[k]; r != nil {
		r.nodes |= 1 << (node - 1)
	}
}

// answered notes one answer that reached the client.
func (t *tracker) answered(k key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.pending[k]
	if r == nil {
		return
	}
	r.answers++
	if r.answers == 1 {
		r.rtt = time.Since(r.start)
		close(r.first)
	}
}
