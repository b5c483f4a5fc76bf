package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A PreroutingLog gets a copy of each packet that reaches prerouting on a host:
// of what passed ingress, fragments one by one, before connection tracking. A
// capture on the device would also show what ingress drops.
type PreroutingLog struct {
	file   *os.File
	raw    syscall.RawConn
	buf    []byte
	ifaces map[uint32]string
	seq    uint32
	remove func() error
	closed atomic.Bool
}

// LogOptions says what is logged, and when it can be read.
type LogOptions struct {
	Match []expr.Any // what packets must match; all packets if empty
	Snap  int        // bytes that are kept of each, from the IP header on
	Batch int        // packets that are handed over at once; after LogDelay they are anyway
}

// LogDelay is how long a packet may wait for its batch to be full.
const LogDelay = 10 * time.Millisecond

// Logged is a packet that reached prerouting.
type Logged struct {
	Interface string // that it came in by; empty if that was made after the log was opened
	Packet    []byte // from the IP header on; valid until the next packets are read
}

// preroutingPriority is NF_IP_PRI_RAW_BEFORE_DEFRAG (linux/netfilter_ipv4.h).
const preroutingPriority nftables.ChainPriority = -450

// Messages and attributes of linux/netfilter/nfnetlink_log.h.
const (
	logPacket       = unix.NFNL_SUBSYS_ULOG << 8
	logConfig       = unix.NFNL_SUBSYS_ULOG<<8 | 1
	cfgCommand      = 1
	cfgMode         = 2
	cfgBufferSize   = 3
	cfgTimeout      = 4
	cfgFlags        = 6
	cfgFlagSequence = 1
	attrIndevice    = 4
	attrPayload     = 9
	attrSequence    = 12
)

// Room for what was not read yet, and for one batch, in bytes.
const (
	logRoom   = 64 << 20
	batchRoom = 1 << 16
)

// Log groups belong to one reader in a network namespace.
var logGroups atomic.Uint32

// LogPrerouting begins to log.
func (ns *Namespace) LogPrerouting(o LogOptions) (*PreroutingLog, error) {
	p := &PreroutingLog{buf: make([]byte, batchRoom+4096), ifaces: map[uint32]string{}}
	group := uint16(logGroups.Add(1))
	links, err := ns.links.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the links of %s: %w", ns.Name, err)
	}
	for _, l := range links {
		p.ifaces[uint32(l.Attrs().Index)] = l.Attrs().Name
	}
	if err := p.open(ns, group, o.Snap); err != nil {
		return nil, fmt.Errorf("open the packet log of %s: %w", ns.Name, err)
	}
	if p.remove, err = ns.logRule(group, o); err != nil {
		return nil, errors.Join(err, p.file.Close())
	}
	return p, nil
}

func (p *PreroutingLog) open(ns *Namespace, group uint16, snap int) error {
	err := ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
		if err == nil {
			p.file = os.NewFile(uintptr(fd), "nfnetlink_log")
			p.raw, err = p.file.SyscallConn()
		}
		return err
	})
	if err != nil {
		return err
	}
	err = p.control(func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, logRoom) })
	mode := append(binary.BigEndian.AppendUint32(nil, uint32(snap)), 2, 0) // copy packets
	for _, c := range []struct {
		attr  int
		value []byte
	}{
		{cfgCommand, []byte{1}}, // bind
		{cfgMode, mode},
		{cfgBufferSize, binary.BigEndian.AppendUint32(nil, batchRoom)},
		{cfgTimeout, binary.BigEndian.AppendUint32(nil, uint32(LogDelay/(10*time.Millisecond)))},
		{cfgFlags, binary.BigEndian.AppendUint16(nil, cfgFlagSequence)},
	} {
		if err == nil {
			err = p.configure(group, c.attr, c.value)
		}
	}
	if err != nil {
		return errors.Join(err, p.file.Close())
	}
	return nil
}

func (p *PreroutingLog) control(f func(fd int) error) (err error) {
	return errors.Join(p.raw.Control(func(fd uintptr) { err = f(int(fd)) }), err)
}

func (p *PreroutingLog) configure(group uint16, attr int, value []byte) error {
	req := nl.NewNetlinkRequest(logConfig, unix.NLM_F_ACK)
	header := binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, 0}, group) // struct nfgenmsg
	req.AddRawData(append(header, nl.NewRtAttr(attr, value).Serialize()...))
	if _, err := p.file.Write(req.Serialize()); err != nil {
		return err
	}
	n, err := p.file.Read(p.buf)
	if err != nil {
		return err
	}
	if n < 20 || binary.NativeEndian.Uint16(p.buf[4:]) != unix.NLMSG_ERROR {
		return errors.New("no acknowledgement from nfnetlink_log")
	}
	if errno := -int32(binary.NativeEndian.Uint32(p.buf[16:])); errno != 0 {
		return fmt.Errorf("nfnetlink_log: %w", unix.Errno(errno))
	}
	return nil
}

// logRule adds a table that logs, and returns what removes it.
func (ns *Namespace) logRule(group uint16, o LogOptions) (remove func() error, err error) {
	conn, err := nftables.New(nftables.WithNetNSFd(int(ns.handle)))
	if err != nil {
		return nil, fmt.Errorf("open nftables in %s: %w", ns.Name, err)
	}
	priority := preroutingPriority
	table := conn.AddTable(&nftables.Table{Name: fmt.Sprintf("log%d", group), Family: nftables.TableFamilyINet})
	chain := conn.AddChain(&nftables.Chain{Name: "prerouting", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: &priority})
	const keys = 1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_SNAPLEN | 1<<unix.NFTA_LOG_QTHRESHOLD
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(o.Match,
		&expr.Log{Key: keys, Group: group, Snaplen: uint32(o.Snap), QThreshold: uint16(max(1, o.Batch))})})
	if err := conn.Flush(); err != nil {
		return nil, fmt.Errorf("add a table to %s: %w", ns.Name, err)
	}
	return func() error {
		conn.DelTable(table)
		if err := conn.Flush(); err != nil {
			return fmt.Errorf("delete a table of %s: %w", ns.Name, err)
		}
		return nil
	}, nil
}

// Take calls f with what was logged and not read yet. Lost packets are an error.
func (p *PreroutingLog) Take(f func(Logged)) error {
	for {
		more, err := p.read(f, false)
		if err != nil || !more {
			return err
		}
	}
}

// Follow calls f with what is logged, until Close.
func (p *PreroutingLog) Follow(f func(Logged)) error {
	for {
		_, err := p.read(f, true)
		if p.closed.Load() { // the error of a read that this ends has no name
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// read reads a batch, if there is one or wait says to wait for it.
func (p *PreroutingLog) read(f func(Logged), wait bool) (some bool, err error) {
	var n int
	outer := p.raw.Read(func(fd uintptr) bool {
		n, err = unix.Read(int(fd), p.buf)
		return !wait || !errors.Is(err, unix.EAGAIN)
	})
	switch {
	case outer != nil:
		return false, outer
	case errors.Is(err, unix.EAGAIN):
		return false, nil
	case err != nil: // ENOBUFS: nobody read for too long
		return false, fmt.Errorf("read the packet log: %w", err)
	}
	for b := p.buf[:n]; len(b) >= unix.NLMSG_HDRLEN; {
		length := int(binary.NativeEndian.Uint32(b))
		if length < unix.NLMSG_HDRLEN+4 || length > len(b) {
			return true, errors.New("read the packet log: a message that is too short")
		}
		if binary.NativeEndian.Uint16(b[4:]) == logPacket {
			if err := p.parse(b[unix.NLMSG_HDRLEN+4:length], f); err != nil {
				return true, err
			}
		}
		b = b[min(len(b), (length+3)&^3):]
	}
	return true, nil
}

func (p *PreroutingLog) parse(b []byte, f func(Logged)) error {
	var packet Logged
	for len(b) >= 4 {
		length, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if length < 4 || length > len(b) {
			return errors.New("read the packet log: an attribute that is too short")
		}
		switch value := b[4:length]; kind {
		case attrIndevice:
			packet.Interface = p.ifaces[binary.BigEndian.Uint32(value)]
		case attrPayload:
			packet.Packet = value
		case attrSequence:
			if seq := binary.BigEndian.Uint32(value); seq != p.seq {
				return fmt.Errorf("the packet log lost packets %d to %d", p.seq, seq)
			}
			p.seq++
		}
		b = b[min(len(b), (length+3)&^3):]
	}
	f(packet)
	return nil
}

// Close ends the log.
func (p *PreroutingLog) Close() error {
	p.closed.Store(true)
	return errors.Join(p.remove(), p.file.Close())
}
