// Package lab builds a whole cluster on one machine, in network namespaces of
// its own: a switch, the nodes, clients with many addresses and, for
// gateways, a server. It runs the nodes' agents as child processes, sends real
// requests through the kernel and reports who answered whom.
//
//	backend                          gateway
//
//	 clients                          clients            server
//	    |                                |                  |
//	 ===+====== switch             ======+=====       ======+=====
//	  |   |   |                     |eth1 |eth1        |eth2 |eth2
//	 node1 …  nodeN                node1  …  nodeN ----+-----+
//
// Everything is made over netlink; no other program is needed. Namespaces are
// named shoal-LAB-switch, shoal-LAB-node1 and so on in /run/netns; the rest is
// in /run/shoal/labs/LAB, which is locked as long as the lab lives. Close
// removes all of it, Clean what labs left that could not close.
package lab
