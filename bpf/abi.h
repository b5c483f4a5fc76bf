/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What C and Go share. bpf2go exports these types and enums to Go; nothing
 * else crosses the border. A change of anything here that pinned maps hold
 * takes a new ABI_VERSION: an agent does not adopt maps of another version.
 */
#ifndef SHOAL_ABI_H
#define SHOAL_ABI_H

#include <linux/types.h>

#define ABI_VERSION 3

#define MAX_BUCKETS 65536
#define HEARTBEAT_MAX 1500 /* longest heartbeat frame that is kept */

/* State of a bucket on this node: one byte in the table. */
enum bucket_state {
	FOREIGN = 0,   /* drop; no clock, no lookup */
	OWNED = 1,     /* handle, if the lease stands */
	ACQUIRING = 2, /* handle what opens a flow, and the flows that I have */
	DRAINING = 3,  /* handle only the flows that I have */
	ACQUIRING_HELD = 4, /* as ACQUIRING, but no new UDP yet: which flows the old owners keep is not known */
};

enum side { CLIENT_SIDE = 0, SERVER_SIDE = 1 };
enum affinity { BY_CLIENT = 0, BY_NETWORK = 1, BY_FLOW = 2 };
enum key { KEY_SIDE = 0, KEY_ORIGINAL = 1 };

/* What tells of the flows that this host has, as bits; without any, buckets move at once. */
enum flow_source { SOCKETS = 1, CONNTRACK = 2 };

/*
 * Why a frame went where it went: every way out of a program is one of these,
 * and each is a counter. The order is what the programs act by: up to LAST_PASS
 * a frame goes on as it came, up to LAST_HOST it goes on as one for this host,
 * the rest does not go on.
 */
enum verdict {
	PASS_OTHER = 0, /* not for the cluster: the host's own traffic */
	PASS_VLAN,      /* tagged: belongs to a VLAN device */
	PASS_MULTICAST, /* IP multicast or broadcast in a frame to the cluster MAC */
	LAST_PASS = PASS_MULTICAST,

	PASS_NEIGHBOUR,  /* ARP or neighbour discovery to the cluster MAC that asks for no cluster address */
	ANSWER_ARP,      /* request for a cluster address, and the asker's bucket is mine */
	ANSWER_ND,       /* solicitation, likewise */
	HANDLE_OWNED,    /* bucket is mine and the lease stands */
	HANDLE_NEW_FLOW, /* acquiring: opens a flow */
	HANDLE_MY_FLOW,  /* acquiring or draining: a flow that I have */
	MARK_OWNED,      /* action mark: mine, marked */
	MARK_FOREIGN,    /* action mark: not mine, left to the user's rules */
	LAST_HOST = MARK_FOREIGN,

	HEARTBEAT,             /* given to the heartbeat receiver */
	DROP_FOREIGN,          /* another node's bucket */
	DROP_NO_LEASE,         /* mine, but the lease has ended */
	DROP_STALE_TABLE,      /* mine, but the table is older than the lease */
	DROP_NOT_MY_FLOW,      /* acquiring or draining: another node's flow */
	DROP_NEW_FLOW,         /* draining: opens a TCP connection, which is the new owner's */
	DROP_KEPT,             /* acquiring: a UDP flow that an old owner keeps */
	DROP_HELD,             /* acquiring, held: UDP of no flow that I have */
	DROP_UNTRACKED,        /* key original: opens no connection and belongs to none */
	DROP_MALFORMED,        /* to the cluster MAC: too short, truncated, contradictory */
	DROP_UNKNOWN_PROTOCOL, /* to the cluster MAC: neither IP nor ARP */
	DROP_ARP_FOREIGN,      /* request for a cluster address: another node answers */
	DROP_ND_FOREIGN,       /* solicitation, likewise */
	DROP_ARP_CLUSTER,      /* ARP from a cluster address for a cluster address */
	DROP_ND_CLUSTER,       /* neighbour discovery, likewise */
	DROP_HEARTBEAT,        /* to the heartbeat port, but no listed node's heartbeat */
	DROP_HEARTBEAT_FULL,   /* the heartbeat receiver does not keep up */

	TYPE_HOST,          /* behind XDP: packet type put right */
	SENT_OTHER,         /* egress: the host's own */
	SENT_ARP,           /* egress: ARP that speaks for a cluster address, now with the cluster MAC */
	SENT_ND,            /* egress: neighbour discovery, likewise */
	SENT_OWNED,         /* egress: from a cluster address, and the bucket is mine */
	DROP_SENT_FOREIGN,  /* egress: from a cluster address, and the bucket is not mine, or there is none to find */
	DROP_SENT_NO_LEASE, /* egress: from a cluster address, without a lease */

	/* Beside a verdict: */
	ALARM_CONFLICT, /* a cluster address claimed with a MAC that is not the cluster's */
	YIELDED,        /* draining: a SYN ended a connection that was not established, or not any more */
	FIRST_FRAGMENT, /* acquiring or draining: remembered for the fragments that follow it */
	VERDICTS,
};

/*
 * The agent's word to the data plane: memory-mapped, one writer. The table has
 * two halves; the agent writes the idle one, then `active`. Within an epoch it
 * changes bytes of the active one.
 */
struct control {
	__u64 lease_deadline; /* CLOCK_BOOTTIME, ns; 0: no lease */
	__u64 lease_epoch;    /* a table older than this is not acted upon */
	__u64 table_epoch[2]; /* of each half */
	__u32 active;         /* the half in use, 0 or 1 */
	__u32 abi_version;    /* ABI_VERSION of the agent that made the map */
	__u8 state[2][MAX_BUCKETS]; /* enum bucket_state */
};

/* IPv6 address in network byte order, or IPv4 as ::ffff:a.b.c.d. */
struct address {
	__u32 words[4];
};

/* A UDP flow, from its client's end; ports in network byte order. */
struct udp_flow {
	struct address client, server;
	__u16 client_port, server_port;
};

/* A UDP flow that is left to an old owner of its bucket. */
struct frozen_flow {
	__u64 until; /* CLOCK_BOOTTIME, ns */
	__u32 bucket;
	__u32 owner; /* node id */
};

/* A heartbeat as it came in, with when it came. */
struct heartbeat {
	__u64 received; /* CLOCK_BOOTTIME, ns */
	__u32 ifindex;
	__u16 length;   /* of frame, bytes */
	__u16 node;     /* id of the listed node that the source address is of */
	__u8 frame[HEARTBEAT_MAX];
};

#endif
