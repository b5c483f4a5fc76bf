package handover

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/lab"
)

// Kernel's counters that tell how TCP fares, by the names that nstat(8) has.
const (
	segmentsRepeated = "TcpRetransSegs" // SYNs among them
	synsRepeated     = "TcpExtTCPSynRetrans"
	resetsSent       = "TcpOutRsts"
)

// kernelCounts reads the counters of a namespace.
func kernelCounts(ns *lab.Namespace) (map[string]int, error) {
	all := map[string]int{}
	err := ns.Do(func() error {
		for _, file := range []string{"snmp", "netstat"} {
			text, err := os.ReadFile("/proc/thread-self/net/" + file)
			if err != nil {
				return err
			}
			maps.Copy(all, parseCounts(text))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the counters of %s: %w", ns.Name, err)
	}
	return all, nil
}

// parseCounts reads pairs of lines, "Tcp: NAME …" and "Tcp: NUMBER …".
func parseCounts(text []byte) map[string]int {
	all := map[string]int{}
	var names []string
	for line := range strings.Lines(string(bytes.TrimSpace(text))) {
		words := strings.Fields(line)
		if names == nil {
			names = words
			continue
		}
		group := strings.TrimSuffix(words[0], ":")
		for i, word := range words[1:] {
			if n, err := strconv.Atoi(word); err == nil && i+1 < len(names) {
				all[group+names[i+1]] = n
			}
		}
		names = nil
	}
	return all
}

// since is what was added to counters.
func since(before, now map[string]int) map[string]int {
	added := map[string]int{}
	for name, n := range now {
		added[name] = n - before[name]
	}
	return added
}

// Reset is a segment with RST that reached the clients.
type Reset struct {
	After    time.Duration // since the log began
	From, To netip.AddrPort
}

// resets logs them.
type resets struct {
	log   *lab.PreroutingLog
	began time.Time
	ended chan error
	mu    sync.Mutex
	all   []Reset
}

const tcpFlags, rst = 13, 0x04 // offset in the header, and the flag (RFC 9293, 3.1)

// logResets begins to log what resets a host gets. Its own counter does not
// have those of connections that it does not know.
func logResets(ns *lab.Namespace) (*resets, error) {
	log, err := ns.LogPrerouting(lab.LogOptions{Snap: 60, Match: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: tcpFlags, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{rst}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{0}},
	}})
	if err != nil {
		return nil, err
	}
	r := &resets{log: log, began: time.Now(), ended: make(chan error, 1)}
	go func() { r.ended <- log.Follow(r.note) }()
	return r, nil
}

func (r *resets) note(p lab.Logged) {
	reset, ok := parseReset(p.Packet)
	if !ok {
		return
	}
	reset.After = time.Since(r.began)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, reset)
}

// close returns what was logged.
func (r *resets) close() ([]Reset, error) {
	time.Sleep(3 * lab.LogDelay) // for what is in the kernel's batch, which ends with no event
	err := errors.Join(r.log.Close(), <-r.ended)
	return r.all, err
}

// parseReset finds the ends of a TCP segment without IPv6 extension headers.
func parseReset(b []byte) (r Reset, ok bool) {
	var from, to netip.Addr
	switch {
	case len(b) >= 20 && b[0]>>4 == 4 && len(b) >= int(b[0]&15)*4+4:
		from, _ = netip.AddrFromSlice(b[12:16])
		to, _ = netip.AddrFromSlice(b[16:20])
		b = b[int(b[0]&15)*4:]
	case len(b) >= 44 && b[0]>>4 == 6:
		from, _ = netip.AddrFromSlice(b[8:24])
		to, _ = netip.AddrFromSlice(b[24:40])
		b = b[40:]
	default:
		return r, false
	}
	r.From = netip.AddrPortFrom(from, binary.BigEndian.Uint16(b))
	r.To = netip.AddrPortFrom(to, binary.BigEndian.Uint16(b[2:]))
	return r, true
}
