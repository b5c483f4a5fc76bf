package cluster

import (
	"fmt"
	"strings"
)

// Mode is what the nodes do with the packets that they handle.
type Mode uint8

// The modes.
const (
	Backend Mode = iota // serve the cluster address themselves
	Gateway             // forward between a client side and a server side
)

// Side says who is on an interface's link, and with it which address of a
// packet is the client's: coming from the client side the source, coming from
// the server side the destination.
type Side uint8

// The sides. Interfaces of a backend cluster are client sides.
const (
	ClientSide Side = iota
	ServerSide
)

// Affinity is what of a packet is hashed.
type Affinity uint8

// The affinities.
const (
	ByClient  Affinity = iota // the client's address
	ByNetwork                 // its /24 (IPv4) or /64 (IPv6)
	ByFlow                    // both addresses, protocol and ports
)

// Key is how the client's address is found.
type Key uint8

// The keys.
const (
	KeySide     Key = iota // by the interface's side
	KeyOriginal            // the source of the connection's original direction, as xt_cluster does
)

// Attach is how the ingress program is attached to an interface.
type Attach uint8

// The ways to attach.
const (
	AttachAuto Attach = iota
	AttachNative
	AttachGeneric
	AttachTCX
)

// L2 is how frames to the cluster MAC are made to reach all nodes.
type L2 uint8

// The layer-2 modes.
const (
	Unicast   L2 = iota // a unicast MAC that no node sends from: switches flood it
	Multicast           // a multicast MAC: switches that do not snoop flood it
	IGMP                // the MAC of an IPv4 group that every node joins
)

// Partition is what nodes do that hear only a part of the others.
type Partition uint8

// What they do.
const (
	// PartitionDefault: with up to two voters as Available, with more as Majority.
	PartitionDefault Partition = iota
	Available                  // the parts serve, each by itself
	Majority                   // only a part with more than half of the voters serves
)

// GoesAlone reports whether a part of the nodes without a majority serves, in
// a cluster of so many voters.
func (p Partition) GoesAlone(voters int) bool {
	return p == Available || p == PartitionDefault && voters <= 2
}

// UDP is what becomes of the UDP flows of a bucket that moves, in mode backend.
type UDP uint8

// What becomes of them.
const (
	UDPMove UDP = iota // they go to the new owner at once
	UDPKeep            // they stay with the old owner while datagrams arrive
)

// Flows is how a gateway finds out which flows it has.
type Flows uint8

// The ways.
const (
	FlowsNone      Flows = iota // it keeps none: whichever node has a bucket can forward its packets
	FlowsConntrack              // by connection tracking
)

// AllUnhealthy is what becomes of the buckets while no node is healthy.
type AllUnhealthy uint8

// What becomes of them.
const (
	UnhealthyKeep AllUnhealthy = iota // they stay where they were last
	UnhealthyDrop                     // nobody handles them
)

// CheckKind is how a service is asked for its health.
type CheckKind uint8

// The kinds.
const (
	CheckTCP  CheckKind = iota // it takes a connection
	CheckHTTP                  // it answers with a status and a body; TLS too
	CheckDNS                   // it answers a query
	CheckExec                  // a program says so, by its exit status
)

// DNSType is the type of a DNS query.
type DNSType uint8

// The types.
const (
	TypeA DNSType = iota
	TypeAAAA
	TypeNS
	TypeCNAME
	TypeSOA
	TypePTR
	TypeMX
	TypeTXT
	TypeSRV
)

var (
	modeWords      = []string{"backend", "gateway"}
	sideWords      = []string{"client", "server"}
	affinityWords  = []string{"client", "network", "flow"}
	keyWords       = []string{"side", "original"}
	attachWords    = []string{"auto", "native", "generic", "tcx"}
	l2Words        = []string{"unicast", "multicast", "igmp"}
	partitionWords = []string{"default", "available", "majority"}
	udpWords       = []string{"move", "keep"}
	flowsWords     = []string{"none", "conntrack"}
	unhealthyWords = []string{"keep", "drop"}
	checkWords     = []string{"tcp", "http", "dns", "exec"}
	dnsWords       = []string{"A", "AAAA", "NS", "CNAME", "SOA", "PTR", "MX", "TXT", "SRV"}
)

func (m Mode) String() string         { return modeWords[m] }
func (s Side) String() string         { return sideWords[s] }
func (a Affinity) String() string     { return affinityWords[a] }
func (k Key) String() string          { return keyWords[k] }
func (a Attach) String() string       { return attachWords[a] }
func (l L2) String() string           { return l2Words[l] }
func (p Partition) String() string    { return partitionWords[p] }
func (u UDP) String() string          { return udpWords[u] }
func (f Flows) String() string        { return flowsWords[f] }
func (a AllUnhealthy) String() string { return unhealthyWords[a] }
func (k CheckKind) String() string    { return checkWords[k] }
func (d DNSType) String() string      { return dnsWords[d] }

// MarshalText returns the word.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText parses a word; the error lists the words that are allowed.
func (m *Mode) UnmarshalText(b []byte) error { return parseWord(m, modeWords, b) }

// MarshalText returns the word.
func (s Side) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses a word; the error lists the words that are allowed.
func (s *Side) UnmarshalText(b []byte) error { return parseWord(s, sideWords, b) }

// MarshalText returns the word.
func (a Affinity) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText parses a word; the error lists the words that are allowed.
func (a *Affinity) UnmarshalText(b []byte) error { return parseWord(a, affinityWords, b) }

// MarshalText returns the word.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText parses a word; the error lists the words that are allowed.
func (k *Key) UnmarshalText(b []byte) error { return parseWord(k, keyWords, b) }

// MarshalText returns the word.
func (a Attach) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText parses a word; the error lists the words that are allowed.
func (a *Attach) UnmarshalText(b []byte) error { return parseWord(a, attachWords, b) }

// MarshalText returns the word.
func (l L2) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText parses a word; the error lists the words that are allowed.
func (l *L2) UnmarshalText(b []byte) error { return parseWord(l, l2Words, b) }

// MarshalText returns the word.
func (p Partition) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText parses a word; the error lists the words that are allowed.
func (p *Partition) UnmarshalText(b []byte) error { return parseWord(p, partitionWords, b) }

// MarshalText returns the word.
func (u UDP) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText parses a word; the error lists the words that are allowed.
func (u *UDP) UnmarshalText(b []byte) error { return parseWord(u, udpWords, b) }

// MarshalText returns the word.
func (f Flows) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText parses a word; the error lists the words that are allowed.
func (f *Flows) UnmarshalText(b []byte) error { return parseWord(f, flowsWords, b) }

// MarshalText returns the word.
func (a AllUnhealthy) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText parses a word; the error lists the words that are allowed.
func (a *AllUnhealthy) UnmarshalText(b []byte) error { return parseWord(a, unhealthyWords, b) }

// MarshalText returns the word.
func (k CheckKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText parses a word; the error lists the words that are allowed.
func (k *CheckKind) UnmarshalText(b []byte) error { return parseWord(k, checkWords, b) }

// MarshalText returns the word.
func (d DNSType) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText parses a word; the error lists the words that are allowed.
func (d *DNSType) UnmarshalText(b []byte) error { return parseWord(d, dnsWords, b) }

func parseWord[W ~uint8](dst *W, words []string, text []byte) error {
	for i, w := range words {
		if w == string(text) {
			*dst = W(i)
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", text, strings.Join(words, ", "))
}
