// Package dataplane loads the BPF programs of a cluster, attaches them to its
// interfaces and speaks to them: ownership table, lease, counters.
//
// Programs, links and maps are pinned in a BPF file system, in one directory
// for a cluster and one in it for each of its interfaces:
//
//	CLUSTER/shared, addresses, peers, buckets, heartbeats, udp_flows, frozen, fragments
//	CLUSTER/IFNAME/counters, egress, type, ingress-native | ingress-generic | ingress-tcx
//
// They outlive the process. The next one adopts them: it takes away the lease,
// puts its own programs in place of the old ones without detaching, and goes
// on. bpf/abi.h is what C and Go share.
//
// A Plane is for the agent, which makes all this. Where another process decides
// what the programs do, it opens a Control, and the agent sets neither table
// nor lease while that process runs; but when it begins and when it removes
// everything it ends the lease all the same.
package dataplane
