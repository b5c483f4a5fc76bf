package member

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrMalformed is why bytes are not what they should be.
var ErrMalformed = errors.New("malformed")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// MaxWeight is the largest weight of a node.
const MaxWeight = 1000

// Sizes and offsets of an encoded header.
const (
	headerSince   = 56
	headerDone    = 64
	headerFlags   = 72
	headerTable   = 73
	headerMembers = 89
	headerFixed   = 97
	entrySize     = 15

	flagAlone = 1 << 0

	// MaxHeaderSize is the size of the longest encoded ViewHeader, in bytes.
	MaxHeaderSize = headerFixed + MaxNodes*entrySize + 1 + MaxReason
)

// AppendBinary appends the one encoding of the header, of which a view's digest
// is taken. Integers are big endian:
//
//	offset  bytes
//	     0      8  epoch
//	     8     24  parent: epoch, digest
//	    32      8  lineage
//	    40      8  voters, bit n-1 for node n
//	    48      8  old voters
//	    56      8  epoch of the first view of that line with these voters
//	    64      8  set of the old owners that have nothing left
//	    72      1  flags: 1 alone
//	    73     16  digest of the table
//	    89      8  set of the nodes whose entry is not zero, m of them
//	    97   15·m  their entries, by id: incarnation (8), state (1), weight (2),
//	               who asked for the drain (1), weight by command (2), who asked
//	               for that (1)
//	 97+15·m    1  length of the reason
//	 98+15·m       the reason
//
// A reason longer than MaxReason is cut.
func (v *ViewHeader) AppendBinary(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(v.Epoch))
	b = v.Parent.AppendBinary(b)
	b = binary.BigEndian.AppendUint64(b, v.Lineage)
	b = binary.BigEndian.AppendUint64(b, uint64(v.Voters))
	b = binary.BigEndian.AppendUint64(b, uint64(v.OldVoters))
	b = binary.BigEndian.AppendUint64(b, uint64(v.VotersFrom))
	b = binary.BigEndian.AppendUint64(b, uint64(v.Done))
	flags := byte(0)
	if v.Alone {
		flags |= flagAlone
	}
	b = append(b, flags)
	b = append(b, v.Table[:]...)
	present := Set(0)
	for i, e := range v.Members {
		if e != (Entry{}) {
			present = present.With(NodeID(i + 1))
		}
	}
	b = binary.BigEndian.AppendUint64(b, uint64(present))
	for left := present; left != 0; left &= left - 1 {
		e := &v.Members[left.first()-1]
		b = binary.BigEndian.AppendUint64(b, uint64(e.Incarnation))
		b = append(b, byte(e.State))
		b = binary.BigEndian.AppendUint16(b, e.Weight)
		b = append(b, e.Drained)
		b = binary.BigEndian.AppendUint16(b, e.Ordered)
		b = append(b, e.OrderedBy)
	}
	reason := v.Reason
	if len(reason) > MaxReason {
		reason = strings.ToValidUTF8(reason[:MaxReason], "")
	}
	b = append(b, byte(len(reason)))
	return append(b, reason...)
}

// DecodeBinary is the reverse of AppendBinary. Whatever AppendBinary would not
// write, given a view that the protocol allows, is ErrMalformed: bytes and
// digest of a header that was read are those of the one that was sent.
func (v *ViewHeader) DecodeBinary(b []byte) error {
	*v = ViewHeader{}
	if len(b) < headerFixed+1 {
		return malformed("view header of %d bytes", len(b))
	}
	v.Epoch = Epoch(binary.BigEndian.Uint64(b))
	v.Parent = decodeViewID(b[8:])
	v.Lineage = binary.BigEndian.Uint64(b[32:])
	v.Voters = Set(binary.BigEndian.Uint64(b[40:]))
	v.OldVoters = Set(binary.BigEndian.Uint64(b[48:]))
	flags := b[headerFlags]
	v.VotersFrom = Epoch(binary.BigEndian.Uint64(b[headerSince:]))
	v.Done, v.Alone = Set(binary.BigEndian.Uint64(b[headerDone:])), flags&flagAlone != 0
	v.Table = Digest(b[headerTable:])
	if flags > flagAlone {
		return malformed("view header: flags %#x", flags)
	}
	present := Set(binary.BigEndian.Uint64(b[headerMembers:]))
	b = b[headerFixed:]
	if len(b) < present.Len()*entrySize+1 {
		return malformed("view header: cut off in the members")
	}
	for left := present; left != 0; left &= left - 1 {
		n := left.first()
		e := &v.Members[n-1]
		*e = Entry{Incarnation(binary.BigEndian.Uint64(b)), State(b[8]), binary.BigEndian.Uint16(b[9:]), b[11], binary.BigEndian.Uint16(b[12:]), b[14]}
		if !e.valid() {
			return malformed("view header: node %d: %+v", n, *e)
		}
		b = b[entrySize:]
	}
	if len(b) != 1+int(b[0]) {
		return malformed("view header: %d bytes where %d of the reason should be", len(b)-1, b[0])
	}
	v.Reason = string(b[1:])
	return v.check()
}

// valid reports whether a view may hold the entry. A zero one is left out.
func (e Entry) valid() bool {
	return e != (Entry{}) && e.State <= Lost && (!e.Live() || e.Incarnation != 0) &&
		e.Weight <= MaxWeight && e.Drained <= MaxNodes &&
		e.Ordered <= MaxWeight && e.OrderedBy <= MaxNodes && (e.Ordered == 0 || e.OrderedBy != 0)
}

// check says what is wrong with a header that was read. The zero header, of the
// view before the first one, is as it should be.
func (v *ViewHeader) check() error {
	switch {
	case *v == (ViewHeader{}):
		return nil
	case v.Epoch == 0 || !v.Epoch.Valid():
		return malformed("view header: epoch %#x", uint64(v.Epoch))
	case !v.Parent.Valid() || v.Parent.Epoch >= v.Epoch:
		return malformed("view header: epoch %#x on top of %#x", uint64(v.Epoch), uint64(v.Parent.Epoch))
	case v.Voters == 0 || v.OldVoters == 0:
		return malformed("view header: no voters")
	case !v.VotersFrom.Valid() || v.VotersFrom > v.Epoch:
		return malformed("view header: epoch %#x with voters from %#x", uint64(v.Epoch), uint64(v.VotersFrom))
	case len(v.Reason) > MaxReason || !printable(v.Reason):
		return malformed("view header: reason %q", v.Reason)
	}
	return nil
}

// printable keeps control characters out of logs and terminals.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Valid reports whether a node can have proposed under the epoch, or it is 0.
func (e Epoch) Valid() bool {
	return e == 0 || e.Proposer() != 0 && e.Proposer() <= MaxNodes
}

// Valid reports whether there can be a view of that name, or it is zero.
func (id ViewID) Valid() bool {
	return id.Epoch.Valid() && (id.Epoch != 0 || id.Digest == Digest{})
}

// AppendBinary appends the epoch, 8 bytes, big endian, and the digest, 16 bytes.
func (id ViewID) AppendBinary(b []byte) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(id.Epoch)), id.Digest[:]...)
}

func decodeViewID(b []byte) ViewID {
	return ViewID{Epoch(binary.BigEndian.Uint64(b)), Digest(b[8:])}
}

// moveSize is the size of an encoded Move.
const moveSize = 10

// AppendTable appends the view's table: the owner of each bucket, 1 byte each;
// the number of moves, 4 bytes; the moves, by bucket: bucket (2), set of old
// owners (8). Integers are big endian.
func (v *View) AppendTable(b []byte) []byte {
	b = append(b, v.Owners...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(v.Moves)))
	for _, m := range v.Moves {
		b = binary.BigEndian.AppendUint16(b, m.Bucket)
		b = binary.BigEndian.AppendUint64(b, uint64(m.Old))
	}
	return b
}

// DecodeTable is the reverse of View.AppendTable, for a table of that many
// buckets. Anything else is ErrMalformed.
func DecodeTable(b []byte, buckets int) (owners []NodeID, moves []Move, err error) {
	if buckets < 0 || len(b) < buckets+4 {
		return nil, nil, malformed("table of %d bytes for %d buckets", len(b), buckets)
	}
	for bucket, n := range b[:buckets] {
		if n > MaxNodes {
			return nil, nil, malformed("table: bucket %d is owned by node %d", bucket, n)
		}
	}
	owners = slices.Clone(b[:buckets])
	count := binary.BigEndian.Uint32(b[buckets:])
	if b = b[buckets+4:]; uint64(len(b)) != uint64(count)*moveSize {
		return nil, nil, malformed("table: %d bytes for %d moves", len(b), count)
	}
	for last := -1; len(b) > 0; b = b[moveSize:] {
		m := Move{binary.BigEndian.Uint16(b), Set(binary.BigEndian.Uint64(b[2:]))}
		if int(m.Bucket) <= last || int(m.Bucket) >= buckets || m.Old == 0 {
			return nil, nil, malformed("table: bucket %d moves from %#x after bucket %d", m.Bucket, uint64(m.Old), last)
		}
		moves, last = append(moves, m), int(m.Bucket)
	}
	return owners, moves, nil
}

// DecodeView puts together a view from its encoded header and table, which must
// be of each other.
func DecodeView(header, table []byte, buckets int) (*View, error) {
	v := &View{Digest: digest(header)}
	if err := v.DecodeBinary(header); err != nil {
		return nil, err
	}
	if v.ViewHeader.Table != digest(table) {
		return nil, malformed("the table is not that of view %#x", uint64(v.Epoch))
	}
	var err error
	if v.Owners, v.Moves, err = DecodeTable(table, buckets); err != nil {
		return nil, err
	}
	v.note()
	return v, nil
}
