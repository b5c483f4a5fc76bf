/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Key original: the bucket by connection tracking, as xt_cluster finds it. */
#ifndef SHOAL_ORIGINAL_H
#define SHOAL_ORIGINAL_H

#include "conntrack.h"

/* Copies the source of a connection's original direction; false: not tracked. */
static __always_inline bool tracked_source(frame *ctx, const struct flow *f, __u32 *addr)
{
	struct nf_conn *conn;
	bool reply;

	conn = tracked(ctx, f, &reply);
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
