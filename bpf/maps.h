/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Constants of one interface, set when its programs are loaded, and the maps.
 * Counters are each
 * interface's own, the other maps and `shared` are one set per cluster.
 */
#ifndef SHOAL_MAPS_H
#define SHOAL_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>
#include "abi.h"

/* Ethernet addresses are compared and written in halves of words: a frame's are aligned no better. */
struct mac {
	__u16 half[3];
};

const volatile struct mac cluster_mac;
const volatile struct mac own_mac;
const volatile __u32 hash_seed;
const volatile __u32 bucket_count;      /* 1..MAX_BUCKETS */
const volatile __u8 side;               /* enum side */
const volatile __u8 affinity;           /* enum affinity */
const volatile __u8 hash_key;           /* enum key */
const volatile __u8 ipv6_first_word;    /* hash 32 bits of an IPv6 address only */
const volatile __u8 marking;            /* action mark, in TCX only */
const volatile __u32 mark_value, mark_mask;
const volatile __u32 foreign_mark_value, foreign_mark_mask;
const volatile __u16 heartbeat_port;    /* network byte order; 0: none */
const volatile __u32 interface_bit;     /* this interface in values of `addresses` */
const volatile enum flow_source flow_sources;
const volatile __u8 udp_keep;           /* UDP flows stay with the old owner of a bucket that moves */
const volatile __u64 udp_timeout;       /* ns without a packet after which it gives one up */

struct control shared;

/* Cluster addresses; the value has a bit for each interface that holds it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct address);
	__type(value, __u32);
} addresses SEC(".maps");

/* The nodes' own addresses on the cluster's links; the value is the node's id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 512);
	__type(key, struct address);
	__type(value, __u32);
} peers SEC(".maps");

/* Packets per bucket that ingress saw, whoever handles them. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_BUCKETS); /* bucket_count, when loaded */
	__type(key, __u32);
	__type(value, __u64);
} buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VERDICTS);
	__type(key, enum verdict);
	__type(value, __u64);
} counters SEC(".maps");

/* struct heartbeat, in order of arrival. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1024 * 1024); /* for each interface, when loaded */
} heartbeats SEC(".maps");

/*
 * UDP flows of this host, where no connection tracking tells of them: when a
 * packet of each came last, CLOCK_BOOTTIME in ns.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* udpFlows, when loaded, where it is used */
	__type(key, struct udp_flow);
	__type(value, __u64);
} udp_flows SEC(".maps");

/* UDP flows that old owners keep, in buckets that come here. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); /* likewise */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct udp_flow);
	__type(value, struct frozen_flow);
} frozen SEC(".maps");

/* A fragmented datagram. */
struct datagram {
	struct address src, dst;
	__u32 id;
	__u8 protocol;
	__u8 v6;
	__u16 zero;
};

/* The verdict on the first fragment, for those that follow it within moments. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct datagram);
	__type(value, __u32);
} fragments SEC(".maps");

static __always_inline void count(enum verdict verdict)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &verdict);

	if (counter)
		(*counter)++;
}

static __always_inline bool mac_equal(const volatile struct mac *a, const volatile struct mac *b)
{
	__u32 diff = (a->half[0] ^ b->half[0]) | (a->half[1] ^ b->half[1]) | (a->half[2] ^ b->half[2]);

	asm("" : "+r"(diff)); /* or the compiler makes three branches of it */
	return !diff;
}

/* A constant is read as volatile always: what the compiler sees of it is zero. */
static __always_inline struct mac mac_copy(const volatile struct mac *m)
{
	return (struct mac){ { m->half[0], m->half[1], m->half[2] } };
}

static __always_inline void address_set4(struct address *a, __u32 addr)
{
	a->words[0] = a->words[1] = 0;
	a->words[2] = bpf_htonl(0xffff);
	a->words[3] = addr;
}

/* An address of a packet, IPv4 in its first word. */
static __always_inline void address_set(struct address *a, const __u32 *addr, bool v6)
{
	if (v6)
		__builtin_memcpy(a, addr, sizeof(*a));
	else
		address_set4(a, addr[0]);
}

/* The interfaces, as bits, that hold an address as a cluster address. */
static __always_inline __u32 holders(const struct address *addr)
{
	__u32 *bits = bpf_map_lookup_elem(&addresses, addr);

	return bits ? *bits : 0;
}

#endif
