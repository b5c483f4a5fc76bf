package flows

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/match"
)

// Flows finds the flows of one cluster. It is for one goroutine at a time.
type Flows struct {
	mode      cluster.Mode
	hash      cluster.Hash
	addresses map[netip.Addr]bool
	diag      *conn // socket diagnostics
	tracker   *conn // connection tracking; nil until there are entries
	sides     *sides
	doomed    doomed
}

// Open opens what it takes to find the flows of a cluster.
func Open(c *cluster.Cluster) (*Flows, error) {
	f := &Flows{mode: c.Mode, hash: c.Hash, addresses: map[netip.Addr]bool{}}
	for _, ifc := range c.Interfaces {
		for _, addr := range ifc.Addresses {
			f.addresses[addr] = true
		}
	}
	var err error
	if f.diag, err = dial(unix.NETLINK_SOCK_DIAG, 0); err != nil {
		return nil, fmt.Errorf("open socket diagnostics (needs a kernel with CONFIG_INET_DIAG): %w", err)
	}
	if f.sides, err = openSides(c.Interfaces); err != nil {
		f.diag.Close()
		return nil, fmt.Errorf("open the routing tables: %w", err)
	}
	return f, nil
}

// Close ends it.
func (f *Flows) Close() error {
	f.sides.Close()
	if f.tracker != nil {
		f.tracker.Close()
	}
	return f.diag.Close()
}

// Count returns the number of flows in each bucket that its node has to keep
// while others take over: TCP, in gateways UDP, too. What it returns is the
// given slice where that is long enough. It takes 1.6 µs of processor time for a
// socket and 2 to 3 µs for an entry, of which the kernel's dump is four fifths
// and more; 5 to 8 µs once for each new address.
func (f *Flows) Count(counts []int) ([]int, error) {
	if len(counts) < f.hash.Buckets {
		counts = make([]int, f.hash.Buckets)
	}
	counts = counts[:f.hash.Buckets]
	clear(counts)
	f.sides.refresh()
	err := f.diag.sockets(unix.IPPROTO_TCP, liveTCP, func(s socket) {
		if bucket, ok := f.ofSocket(s); ok {
			counts[bucket]++
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list the TCP sockets (needs a kernel with CONFIG_INET_TCP_DIAG): %w", err)
	}
	err = f.entries(func(e *entry) {
		if !f.counts(e) {
			return
		}
		if bucket, ok := f.ofEntry(e); ok {
			counts[bucket]++
		}
	})
	return counts, err
}

// counts says whether an entry stands for a flow to be kept. One between this
// host, by a cluster address, and somebody else has a socket here, which counts.
func (f *Flows) counts(e *entry) bool {
	if e.over() || !e.translated() && (f.addresses[e.original.src] || f.addresses[e.original.dst]) {
		return false
	}
	return e.protocol == unix.IPPROTO_TCP || e.protocol == unix.IPPROTO_UDP && f.mode == cluster.Gateway
}

// entries calls each for the entries of connection tracking, if there are any.
func (f *Flows) entries(each func(*entry)) error {
	any, err := anyEntries()
	if err != nil || !any {
		return err
	}
	if f.tracker == nil {
		if f.tracker, err = dial(unix.NETLINK_NETFILTER, 0); err != nil {
			return fmt.Errorf("open connection tracking: %w", err)
		}
	}
	if err := f.tracker.entries(each); err != nil {
		return fmt.Errorf("list the tracked connections (needs the kernel module nf_conntrack_netlink): %w", err)
	}
	return nil
}

// ofSocket returns the bucket of a socket's packets, if they are the cluster's.
func (f *Flows) ofSocket(s socket) (bucket int, ok bool) {
	if !f.addresses[s.in.dst] {
		return 0, false
	}
	r := f.sides.reach(destination{to: s.in.src, from: s.in.dst, device: s.device})
	return f.bucket(s.protocol, s.in, r), r != elsewhere
}

// ofEntry returns the bucket of an entry's packets, if they are the cluster's.
func (f *Flows) ofEntry(e *entry) (bucket int, ok bool) {
	in, side := f.way(e)
	if side == elsewhere {
		return 0, false
	}
	if f.hash.Key == cluster.KeyOriginal {
		in, side = e.original, clientSide
	}
	return f.bucket(e.protocol, in, side), true
}

// way returns the direction by which an entry's packets come in, and from where.
func (f *Flows) way(e *entry) (in tuple, side reach) {
	if in, side = f.crossing(e); side == elsewhere {
		in, side = f.toCluster(e)
	}
	return in, side
}

// crossing returns the direction that comes from the client side, of an entry
// between a client and a server.
func (f *Flows) crossing(e *entry) (in tuple, side reach) {
	if f.mode != cluster.Gateway {
		return in, elsewhere
	}
	opened := f.sides.reach(destination{to: e.original.src})
	accepted := f.sides.reach(destination{to: e.reply.src})
	switch {
	case opposite(opened, accepted):
		return e.original, clientSide
	case opposite(accepted, opened):
		return e.reply, clientSide
	}
	return in, elsewhere
}

// opposite says that a client and a server are on the two sides. One of them
// may be out of reach at the moment.
func opposite(client, server reach) bool {
	return client == clientSide && (server == serverSide || server == nowhere) ||
		client == nowhere && server == serverSide
}

// toCluster returns the direction that comes to a cluster address, and from
// where.
func (f *Flows) toCluster(e *entry) (in tuple, side reach) {
	for _, in := range []tuple{e.original, e.reply} {
		if f.addresses[in.dst] {
			return in, f.sides.reach(destination{to: in.src})
		}
	}
	return in, elsewhere
}

// bucket returns the bucket of the packets that come in on a side: the client is
// their source there, or on the server side their destination.
func (f *Flows) bucket(protocol uint8, in tuple, side reach) int {
	flow := match.Flow{Client: in.src, Server: in.dst, Protocol: protocol, ClientPort: in.sport, ServerPort: in.dport}
	if side == serverSide && f.hash.Key == cluster.KeySide {
		flow.Client, flow.Server = flow.Server, flow.Client
		flow.ClientPort, flow.ServerPort = flow.ServerPort, flow.ClientPort
	}
	return f.hash.Bucket(flow)
}

// passes bounds how often Destroy looks for what is left.
const passes = 4

// Destroy destroys all flows in the buckets that in says, also those that do
// not count: TCP sockets in every state but listening, connected UDP sockets,
// entries of connection tracking of any protocol. Their programs get the error
// ECONNABORTED. It looks again until it finds none, since a dump may miss what
// changes meanwhile. It goes on after errors, and returns the first ones. n is
// how many it destroyed; what ended by itself is neither counted nor an error.
//
// For each TCP connection the kernel sends a reset (tcp_abort in
// net/ipv4/tcp.c): what keeps it from clients is that the data plane lets
// nothing out in buckets that are foreign here, or without a lease. So they
// must be.
//
// Only the entries of services in other network namespaces are destroyed, not
// their sockets: what those still send leaves untranslated, or as a new
// connection of the host's own, not from the cluster address.
func (f *Flows) Destroy(in func(bucket int) bool) (n int, err error) {
	for range passes {
		f.sides.refresh()
		found, failed := f.destroy(in)
		n += found
		if err == nil {
			err = failed
		}
		if found == 0 {
			break
		}
	}
	return n, err
}

// destroy is one pass: first all are found, then destroyed.
func (f *Flows) destroy(in func(bucket int) bool) (n int, err error) {
	f.doomed.clear()
	doom := func(s socket) {
		if bucket, ok := f.ofSocket(s); ok && in(bucket) {
			f.doomed.add(func(b []byte) []byte { return diagRequest(b, s.family, s.protocol, 0, s.id) })
		}
	}
	if err := f.diag.sockets(unix.IPPROTO_TCP, liveTCP|timeWait, doom); err != nil {
		return 0, fmt.Errorf("list the TCP sockets (needs a kernel with CONFIG_INET_TCP_DIAG): %w", err)
	}
	if err := f.diag.sockets(unix.IPPROTO_UDP, established, doom); err != nil {
		return 0, fmt.Errorf("list the UDP sockets (needs a kernel with CONFIG_INET_UDP_DIAG): %w", err)
	}
	if n, err = f.doomed.request(f.diag, sockDestroy); err != nil {
		err = fmt.Errorf("destroy sockets of foreign buckets (needs a kernel with CONFIG_INET_DIAG_DESTROY): %w", err)
	}
	f.doomed.clear()
	failed := f.entries(func(e *entry) {
		if bucket, ok := f.ofEntry(e); ok && in(bucket) {
			f.doomed.add(e.request)
		}
	})
	if failed != nil {
		return n, errors.Join(err, failed)
	}
	deleted, failed := f.doomed.request(f.tracker, entryDelete)
	if failed != nil {
		err = errors.Join(err, fmt.Errorf("delete tracked connections of foreign buckets: %w", failed))
	}
	return n + deleted, err
}

// doomed holds requests that each destroy one flow: while a dump is read its
// socket can send nothing.
type doomed struct {
	bodies []byte
	ends   []int
}

func (d *doomed) clear() { d.bodies, d.ends = d.bodies[:0], d.ends[:0] }

func (d *doomed) add(body func([]byte) []byte) {
	d.bodies = body(d.bodies)
	d.ends = append(d.ends, len(d.bodies))
}

// request sends all requests, and returns how many were fulfilled and the first
// error. A flow that ended meanwhile is none.
func (d *doomed) request(c *conn, kind uint16) (n int, err error) {
	start := 0
	for _, end := range d.ends {
		failed := c.request(kind, unix.NLM_F_ACK, d.bodies[start:end], nil)
		start = end
		switch {
		case failed == nil:
			n++
		case err == nil && !errors.Is(failed, unix.ENOENT):
			err = failed
		}
	}
	return n, err
}
