/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* From a flow to its bucket, and whether this node may act on that bucket. */
#ifndef SHOAL_BUCKET_H
#define SHOAL_BUCKET_H

#include "hash.h"
#include "parse.h"

#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))

static __always_inline __u32 hash_address(const __u32 *addr, bool v6)
{
	__u32 net[4];

	if (!v6) {
		net[0] = affinity == BY_NETWORK ? addr[0] & bpf_htonl(0xffffff00) : addr[0];
		return jhash(net, 1, hash_seed);
	}
	if (ipv6_first_word)
		return jhash(addr, 1, hash_seed);
	if (affinity != BY_NETWORK)
		return jhash(addr, 4, hash_seed);
	net[0] = addr[0];
	net[1] = addr[1];
	net[2] = net[3] = 0;
	return jhash(net, 4, hash_seed);
}

/* Both ends, client first, so that both directions of a flow agree. */
static __always_inline __u32 hash_ends(const __u32 *client, const __u32 *server, __u16 cport, __u16 sport,
				       const struct flow *f)
{
	__u32 key[10];
	union {
		__u16 half[2];
		__u32 word;
	} ports = { { cport, sport } };

	if (!f->v6) {
		key[0] = client[0];
		key[1] = server[0];
		key[2] = ports.word;
		key[3] = word((__u32)f->protocol); /* the number itself, in either byte order */
		return jhash(key, 4, hash_seed);
	}
	__builtin_memcpy(key, client, 16);
	__builtin_memcpy(key + 4, server, 16);
	key[8] = ports.word;
	key[9] = word((__u32)f->protocol);
	return jhash(key, 10, hash_seed);
}

static __always_inline __u32 scale(__u32 hash)
{
	return (__u64)hash * bucket_count >> 32;
}

/*
 * Whether the source of a packet is the client. `inward` says that the frame
 * comes in by the interface: from the client side its source is the client,
 * from the server side its destination; going out, and in quotes, it is the
 * other way round.
 */
static __always_inline bool from_client(const struct flow *f, bool inward)
{
	return (side == CLIENT_SIDE) == (inward != f->quoted);
}

/* The bucket of a flow. The flow affinity needs load_ports(). */
static __always_inline __u32 bucket_of(const struct flow *f, bool inward)
{
	if (from_client(f, inward)) {
		if (affinity == BY_FLOW)
			return scale(hash_ends(f->src, f->dst, f->sport, f->dport, f));
		return scale(hash_address(f->src, f->v6));
	}
	if (affinity == BY_FLOW)
		return scale(hash_ends(f->dst, f->src, f->dport, f->sport, f));
	return scale(hash_address(f->dst, f->v6));
}

/* Read once per frame: state and epoch must be of the same table. */
static __always_inline __u32 active_half(void)
{
	return READ_ONCE(shared.active) & 1;
}

/* The state of a bucket in one half of the table: enum bucket_state. */
static __always_inline __u32 state_of(__u32 half, __u32 bucket)
{
	return READ_ONCE(shared.state[half][bucket & (MAX_BUCKETS - 1)]);
}

static __always_inline void count_bucket(__u32 bucket)
{
	__u64 *packets = bpf_map_lookup_elem(&buckets, &bucket);

	if (packets)
		(*packets)++;
}

/*
 * Whether this node may act on a table now: NO_VERDICT, or why not. `now` is of
 * the boot-time clock, which runs on while the machine is suspended, and of the
 * precise one: the coarse one may stand still after a pause.
 */
static __always_inline int check_lease(__u32 half, __u64 now)
{
	if (now >= READ_ONCE(shared.lease_deadline))
		return DROP_NO_LEASE;
	if (READ_ONCE(shared.table_epoch[half]) < READ_ONCE(shared.lease_epoch))
		return DROP_STALE_TABLE;
	return NO_VERDICT;
}

#endif
