package flows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Of include/uapi/linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h.
const (
	entryGet    = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1 // IPCTNL_MSG_CT_GET
	entryDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2 // IPCTNL_MSG_CT_DELETE

	sizeofNfgenmsg = 4

	attrOriginal  = 1  // CTA_TUPLE_ORIG
	attrReply     = 2  // CTA_TUPLE_REPLY
	attrProtoInfo = 4  // CTA_PROTOINFO
	attrID        = 12 // CTA_ID
	attrZone      = 18 // CTA_ZONE

	attrTupleIP    = 1 // CTA_TUPLE_IP
	attrTupleProto = 2 // CTA_TUPLE_PROTO
	attrProtoNum   = 1 // CTA_PROTO_NUM
	attrProtoSrc   = 2 // CTA_PROTO_SRC_PORT
	attrProtoDst   = 3 // CTA_PROTO_DST_PORT
	attrInfoTCP    = 1 // CTA_PROTOINFO_TCP
	attrStateTCP   = 1 // CTA_PROTOINFO_TCP_STATE

	stateTimeWait = 7 // enum tcp_conntrack, nf_conntrack_tcp.h
	stateClose    = 8
)

// tuple is one direction of a flow: the packets from src to dst.
type tuple struct {
	src, dst     netip.Addr
	sport, dport uint16
}

// entry is an entry of connection tracking as a dump has it. The sources are
// the two ends; the destinations are what the other end takes each for.
type entry struct {
	family, protocol uint8
	state            uint8 // of TCP
	original, reply  tuple
	key              [3][]byte // the attributes that name it to the kernel; valid during the dump only
}

// over says that the connection has ended.
func (e *entry) over() bool {
	return e.protocol == unix.IPPROTO_TCP && (e.state == stateTimeWait || e.state == stateClose)
}

// translated says that one end is not whom the other one takes it for, so that
// it is not a socket of this host that has the cluster address.
func (e *entry) translated() bool {
	r := e.reply
	return e.original != tuple{src: r.dst, dst: r.src, sport: r.dport, dport: r.sport}
}

// entries calls each for the entries of the table, valid during the call only.
func (c *conn) entries(each func(*entry)) error {
	var e entry
	return c.request(entryGet, unix.NLM_F_DUMP, make([]byte, sizeofNfgenmsg), func(b []byte) {
		if e.parse(b) {
			each(&e)
		}
	})
}

// request appends the request that names the entry: a struct nfgenmsg and the
// attributes as they were read.
func (e *entry) request(b []byte) []byte {
	b = append(b, e.family, 0, 0, 0)
	for _, attr := range e.key {
		b = append(b, attr...)
	}
	return b
}

// parse reads an entry; false if it is none with two addresses.
func (e *entry) parse(b []byte) bool {
	if len(b) < sizeofNfgenmsg {
		return false
	}
	*e = entry{family: b[0]}
	attributes(b[sizeofNfgenmsg:], func(kind uint16, whole, value []byte) {
		switch kind {
		case attrOriginal:
			e.key[0] = whole
			e.protocol = e.original.parse(value)
		case attrReply:
			e.reply.parse(value)
		case attrZone:
			e.key[1] = whole
		case attrID:
			e.key[2] = whole
		case attrProtoInfo:
			e.state = stateOf(value)
		}
	})
	return e.original.src.IsValid() && e.original.dst.IsValid() && e.reply.src.IsValid() && e.reply.dst.IsValid()
}

// parse reads what is nested in CTA_TUPLE_*.
func (t *tuple) parse(b []byte) (protocol uint8) {
	attributes(b, func(kind uint16, _, value []byte) {
		switch kind {
		case attrTupleIP:
			// CTA_IP_V4_SRC and CTA_IP_V6_SRC are odd, ..._DST even.
			attributes(value, func(kind uint16, _, value []byte) {
				if addr, ok := netip.AddrFromSlice(value); ok && kind%2 == 1 {
					t.src = addr
				} else if ok {
					t.dst = addr
				}
			})
		case attrTupleProto:
			attributes(value, func(kind uint16, _, value []byte) {
				switch {
				case kind == attrProtoNum && len(value) >= 1:
					protocol = value[0]
				case kind == attrProtoSrc && len(value) >= 2:
					t.sport = binary.BigEndian.Uint16(value)
				case kind == attrProtoDst && len(value) >= 2:
					t.dport = binary.BigEndian.Uint16(value)
				}
			})
		}
	})
	return protocol
}

func stateOf(info []byte) (state uint8) {
	attributes(info, func(kind uint16, _, value []byte) {
		if kind != attrInfoTCP {
			return
		}
		attributes(value, func(kind uint16, _, value []byte) {
			if kind == attrStateTCP && len(value) >= 1 {
				state = value[0]
			}
		})
	})
	return state
}

// anyEntries reports whether there are entries at all. It keeps the kernel from
// loading its modules for connection tracking because somebody asks for it.
func anyEntries() (bool, error) {
	count, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read whether connections are tracked: %w", err)
	}
	return strings.TrimSpace(string(count)) != "0", nil
}
