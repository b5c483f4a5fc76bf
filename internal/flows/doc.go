// Package flows knows the flows of a cluster that this host has: it counts them
// by bucket, so that a bucket that is given away is known to be empty, and
// destroys those of buckets that others own now.
//
// A flow of the cluster is one of these:
//
//   - A TCP socket, not a listener, whose local address is a cluster address:
//     also a handshake that waits for its last ACK (SYN_RECV). A connected UDP
//     socket there is destroyed, but not counted.
//   - An entry of connection tracking whose packets come to a cluster address,
//     and are passed on to another one: a service in a container or on another
//     host. Sockets in other network namespaces cannot be seen from here; the
//     entry stands for them.
//   - In gateways: an entry between an address on the client side and one on the
//     server side.
//
// And only if its packets travel by an interface of the cluster, which is where
// the way to the other end begins, by the host's routes; an end to which there
// is no route counts as being there. So connections of the host with itself
// (health checks), and of its containers with the cluster address, are not the
// cluster's: no other node ever sees them. Where answers leave by another
// interface than questions come in by, flows are not recognized; nor does the
// data plane see what such a node sends. In gateways routes that depend on more
// than the destination are not followed.
//
// What has ended does not count: TCP in TIME_WAIT, and entries in TIME_WAIT or
// CLOSE. A SYN for their ports is the new owner's anyway. All that the old
// owner is good for is to answer a FIN that is sent again because its ACK was
// lost; within seconds of the end that is over, and 60 s (120 s for entries) of
// waiting would make every drain of a busy node that long. Idle waits some
// seconds, for that and because dumps are not made in one instant.
//
// Linux only. All functions work in the network namespace of the calling
// thread.
package flows
