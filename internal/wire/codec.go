package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"github.com/shoal-net/shoal/internal/member"
)

// MaxFrame is how many bytes a frame has at most: with the headers of UDP and
// IPv6 it fits into 1500.
const MaxFrame = 1400

// version is that of the format, and the lowest whose readers understand it.
const version = 1

const (
	clusterSize = 8
	macSize     = 16

	offsetLowest  = 5
	offsetCluster = 6
	offsetKey     = 14
	offsetKind    = 15
	offsetBody    = 25
)

var magic = []byte("shol")

// Why a frame is refused. All but ErrMalformed may be anybody's doing.
var (
	ErrMagic     = errors.New("no frame of shoal")
	ErrTruncated = errors.New("frame cut off")
	ErrVersion   = errors.New("frame of a newer version that this one does not understand")
	ErrCluster   = errors.New("frame of another cluster")
	ErrKey       = errors.New("frame damaged, or sent with another key")
	ErrMalformed = member.ErrMalformed // authentic, and yet not what a node sends
)

// Codec writes and reads the frames of one cluster. It is for one goroutine.
type Codec struct {
	cluster [clusterSize]byte
	keys    []key
	sum     [sha256.Size]byte // scratch
}

type key struct {
	id  byte
	mac hash.Hash
}

// New returns the codec of a cluster, by name. Frames are written under the
// first of the keys and accepted under any. Without keys, whoever knows the
// name can write them.
func New(cluster string, keys []string) *Codec {
	c := &Codec{}
	name := sha256.Sum256([]byte(cluster))
	copy(c.cluster[:], name[:])
	if len(keys) == 0 {
		sum := sha256.Sum256([]byte("shoal without a key: " + cluster))
		keys = []string{string(sum[:])}
	}
	for _, text := range keys {
		k := key{mac: hmac.New(sha256.New, []byte(text))}
		k.id = c.authenticate(&k, []byte("shoal key id"))[0]
		c.keys = append(c.keys, k)
	}
	return c
}

// authenticate returns a text's code, valid until the next call.
func (c *Codec) authenticate(k *key, text []byte) []byte {
	k.mac.Reset()
	k.mac.Write(text)
	return k.mac.Sum(c.sum[:0])[:macSize]
}

// Append appends the frame of a message. The message is one that Decode may
// return: anything else the receivers refuse.
func (c *Codec) Append(dst []byte, m *member.Message) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = append(dst, version, version)
	dst = append(dst, c.cluster[:]...)
	dst = append(dst, c.keys[0].id, kindOf(m.Body), m.From)
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.Incarnation))
	dst = appendBody(dst, m.Body)
	return append(dst, c.authenticate(&c.keys[0], dst[start:])...)
}

// Decoded is a message and the memory that it lies in, to be used again. It
// must not be copied.
type Decoded struct {
	Message member.Message // valid until the next Decode; nothing of it lies in the frame

	heartbeat member.Heartbeat
	view      member.ViewHeader
	fetch     member.Fetch
	chunk     member.Chunk
	drained   member.Drained
	flowFetch member.FlowFetch
	flowChunk member.FlowChunk
	data      [member.ChunkSize]byte
}

// Decode reads a frame: the payload of a datagram, whole. It returns one of the
// package's errors, which may be wrapped, after which the message means nothing.
func (c *Codec) Decode(frame []byte, into *Decoded) error {
	body, err := c.verify(frame)
	if err != nil {
		return err
	}
	m := &into.Message
	m.From = frame[offsetKind+1]
	m.Incarnation = member.Incarnation(binary.BigEndian.Uint64(frame[offsetKind+2:]))
	m.Body = nil
	if m.From == 0 || m.From > member.MaxNodes || m.Incarnation == 0 {
		return malformed("sender %d, incarnation %#x", m.From, uint64(m.Incarnation))
	}
	return into.decodeBody(frame[offsetKind], body)
}

// verify returns the body of a frame that is a member's of this cluster. What
// is cheap to see comes first.
func (c *Codec) verify(frame []byte) ([]byte, error) {
	switch {
	case !bytes.HasPrefix(frame, magic[:min(len(magic), len(frame))]):
		return nil, ErrMagic
	case len(frame) <= offsetLowest:
		return nil, ErrTruncated
	case frame[offsetLowest] > version:
		return nil, ErrVersion
	case len(frame) < offsetBody+macSize:
		return nil, ErrTruncated
	case !bytes.Equal(frame[offsetCluster:offsetKey], c.cluster[:]):
		return nil, ErrCluster
	}
	end := len(frame) - macSize
	for i := range c.keys {
		k := &c.keys[i]
		if k.id == frame[offsetKey] && hmac.Equal(frame[end:], c.authenticate(k, frame[:end])) {
			return frame[offsetBody:end], nil
		}
	}
	return nil, ErrKey
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}
