// Package wire is how messages between nodes look: one frame each, in a UDP
// datagram, authenticated. Pure: no I/O.
//
// Integers are big endian. Sets of nodes are 8 bytes, bit n-1 for node n. Times
// and durations are 8 bytes, signed, in nanoseconds. A view's name is its epoch
// (8) and digest (16).
//
// # Frame
//
//	offset  bytes
//	     0      4  "shol"
//	     4      1  version of the format that it is written in; this is 1
//	     5      1  lowest version whose readers understand it
//	     6      8  cluster: the first 8 bytes of the SHA-256 of its name
//	    14      1  key: the first byte of HMAC-SHA256(key, "shoal key id")
//	    15      1  kind of body: 1 heartbeat, 2 view, 3 fetch, 4 chunk,
//	            5 drained, 6 flow fetch, 7 flow chunk
//	    16      1  node id of the sender, 1..64
//	    17      8  incarnation of the sender, not 0
//	    25         body
//	   -16     16  the first half of HMAC-SHA256(key, all before)
//
// The first six bytes are the same in every version. A later version may write
// more at the end of a body: readers ignore what they do not know there. Where
// that will not do, it raises the lowest version, and older readers refuse the
// frame (ErrVersion). While nodes of several versions are in a cluster, the
// later ones write views as the oldest does: the digest of a view is taken of
// its encoding.
//
// Without a key in the file the key is the SHA-256 of "shoal without a key: "
// and the cluster's name: that finds damage and strangers' mistakes, and keeps
// nobody out. With several keys, frames are sent under the first and taken under
// each, so that keys change without interruption: add the new one on all nodes
// behind the old one, put it first on all, take the old one away.
//
// A frame that was recorded and is sent again has a valid code. Replays are the
// receiver's business: docs/protocol.md.
//
// # Heartbeat (member.Heartbeat)
//
//	offset  bytes
//	     0      8  incarnation before, or 0
//	     8      8  when it was sent, by the sender's clock
//	    16      1  state: 0 joining, 1 serving, 2 draining, 3 leaving, 4 fenced
//	    17      1  flags: 1 fit, 2 amnesiac, 4 may go on alone
//	    18      1  interfaces whose link is up, one bit each
//	    19      8  set of the nodes in the sender's file
//	    27     64  digests of 16 settings, 4 bytes each
//	    91      8  set of the suspects
//	    99      2  weight, 0..1000
//	   101      2  largest weight that the sender's health allows, 0..1000
//	   103      1  what the sender was asked for: 0 nothing, 1 drain, 2 undrain,
//	               3 set the weight, 4 reset it
//	   104      1  … of which node
//	   105      2  … to which weight
//	   107      8  highest ballot promised or accepted
//	   115     24  highest view accepted
//	   139      8  set of the live nodes of that view that have ended
//	   147      8  which leases the echoes stand for
//	   155      8  set of the nodes whose leases they extend
//	   163     24  view that is acted on
//	   187      8  line of views that it belongs to
//	   195      8  set of the nodes that act on it, too
//	   203      8  what is left of the sender's lease
//	   211      8  lateness
//	   219      8  set of the nodes that are echoed, n of them
//	   227   17·n  echoes, by id: incarnation (8), when the newest heartbeat was
//	               sent, by that node's clock (8), interfaces it was heard on (1)
//
// # View (member.ViewHeader)
//
//	0      2  length of the header
//	2         header: member.ViewHeader.AppendBinary
//
// # Fetch (member.Fetch)
//
//	 0      1  node id of whom it asks
//	 1     24  view
//	25      2  index of the first chunk that is wanted
//
// # Chunk (member.Chunk)
//
//	 0     24  view
//	24      2  index of this chunk
//	26      2  number of chunks
//	28      2  length of the data: 1024, in the last chunk 1..1024
//	30         data: a part of member.View.AppendTable
//
// # Drained (member.Drained)
//
//	 0     24  view
//	24      2  the first bucket, a multiple of 8192
//	26      2  length of the bits: 1..1024
//	28         bits: the i-th bucket is bit i%8 of byte i/8
//
// # Flow fetch (member.FlowFetch)
//
//	 0      1  node id of whom it asks
//	 1     24  view
//	25      8  later than which list, by that node's clock; 0: any
//	33      2  index of the first chunk that is wanted
//
// # Flow chunk (member.FlowChunk)
//
//	 0     24  view
//	24      8  when the list was taken, by the sender's clock, not 0
//	32      2  index of this chunk
//	34      2  number of chunks
//	36      2  length of the flows: 0..1024
//	38         flows, whole ones: member.AppendFlow
package wire
