// Package transport is how the heartbeat process speaks to the network and
// hears of it:
//
//   - Sender: messages to the other nodes as clients' packets travel, UDP to
//     the cluster address in frames to the cluster MAC. What comes in that way
//     is taken by the data plane, and Payload finds the message in its frame.
//   - Direct: messages over a link that is there for nothing else.
//   - Links: which interfaces are there and have carrier.
//   - Prober: whether anything answers but the nodes.
//
// All of it is for one real-time thread that waits for many things at once: a
// type opens its socket, tells its file descriptor, and then neither blocks nor
// allocates nor waits for the Go scheduler. Sockets belong to the network
// namespace of the thread that opens them. Nothing is safe for concurrent use.
package transport
