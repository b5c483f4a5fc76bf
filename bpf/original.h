/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Key original: the bucket by connection tracking, as xt_cluster finds it. */
#ifndef SHOAL_ORIGINAL_H
#define SHOAL_ORIGINAL_H

#include <linux/tcp.h>
#include "tuple.h"

/* The few fields that are read of include/net/netfilter/nf_conntrack.h's structures. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
union nf_inet_addr {
	__u32 all[4];
};
struct nf_conntrack_man {
	union nf_inet_addr u3;
};
struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
};
struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
};
struct nf_conn {
	struct nf_conntrack_tuple_hash tuplehash[2];
};
#pragma clang attribute pop

/* struct bpf_ct_opts of net/netfilter/nf_conntrack_bpf.c, in the size that 5.18 and later take. */
struct bpf_ct_opts___shoal {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
	__u8 reserved[2];
};

#ifdef SHOAL_XDP
extern struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *ctx, struct bpf_sock_tuple *tuple, __u32 tuple_size,
					 struct bpf_ct_opts___shoal *opts, __u32 opts_size) __weak __ksym;
#define ct_lookup bpf_xdp_ct_lookup
#else
extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *ctx, struct bpf_sock_tuple *tuple, __u32 tuple_size,
					 struct bpf_ct_opts___shoal *opts, __u32 opts_size) __weak __ksym;
#define ct_lookup bpf_skb_ct_lookup
#endif
extern void bpf_ct_release(struct nf_conn *conn) __weak __ksym;

/* Copies the source of a connection's original direction; false: not tracked. */
static __always_inline bool tracked_source(frame *ctx, const struct flow *f, __u32 *addr)
{
	struct bpf_ct_opts___shoal opts = { .netns_id = BPF_F_CURRENT_NETNS, .l4proto = f->protocol };
	struct bpf_sock_tuple tuple = {};
	struct nf_conn *conn;

	conn = ct_lookup(ctx, &tuple, tuple_of(f, &tuple), &opts, sizeof(opts));
	if (!conn)
		return false;
	addr[0] = conn->tuplehash[0].tuple.src.u3.all[0];
	addr[1] = conn->tuplehash[0].tuple.src.u3.all[1];
	addr[2] = conn->tuplehash[0].tuple.src.u3.all[2];
	addr[3] = conn->tuplehash[0].tuple.src.u3.all[3];
	bpf_ct_release(conn);
	return true;
}

/*
 * Key original: hashes what xt_cluster hashes, whichever way the packet goes.
 * Writes the bucket, or returns DROP_UNTRACKED where xt_cluster would find no
 * connection. The lookup knows TCP and UDP; of an echo the type tells the
 * direction; a fragment is taken for its connection's original direction.
 */
static __noinline int original_bucket(frame *ctx, struct flow *f, __u32 *bucket)
{
	struct tcphdr tcp = {};
	__u32 addr[4] = {};

	if (!f->fragment && (f->protocol == IPPROTO_TCP || f->protocol == IPPROTO_UDP)) {
		if (!load_ports(ctx, f))
			return DROP_MALFORMED;
		if (tracked_source(ctx, f, addr))
			goto found;
		if (f->protocol == IPPROTO_TCP && !f->quoted && load_header(ctx, f->l4, &tcp, sizeof(tcp)))
			return DROP_MALFORMED;
		if (f->quoted || (f->protocol == IPPROTO_TCP && (!tcp.syn || tcp.ack)))
			return DROP_UNTRACKED;
	}
	if (is_icmp(f) && f->icmp_type == (f->v6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY))
		__builtin_memcpy(addr, f->dst, sizeof(addr));
	else
		__builtin_memcpy(addr, f->src, sizeof(addr));
found:
	*bucket = scale(hash_address(addr, f->v6));
	return NO_VERDICT;
}

#endif
