/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Buckets that move between two nodes. Every packet comes to both: what is
 * decided here for the state DRAINING on one and ACQUIRING on the other lets
 * one of them, or none, take it.
 */
#ifndef SHOAL_MOVING_H
#define SHOAL_MOVING_H

#include "sockets.h"
#include "udp.h"

/* What belongs to no flow that an old owner could have is the new owner's at once. */
static __always_inline int new_owners(const struct flow *f, enum bucket_state state)
{
	if (state == DRAINING)
		return DROP_NOT_MY_FLOW;
	return state == ACQUIRING_HELD && f->protocol == IPPROTO_UDP ? DROP_HELD : HANDLE_NEW_FLOW;
}

static __noinline int moving_tcp(frame *ctx, struct flow *f, enum bucket_state state)
{
	struct segment s;

	if (!load_segment(ctx, f, &s))
		return DROP_MALFORMED;
	if (s.opens) {
		if (state != DRAINING)
			return HANDLE_NEW_FLOW;
		yield(ctx, f);
		return DROP_NEW_FLOW;
	}
	if ((flow_sources & SOCKETS) && socket_has(ctx, f, &s, state == DRAINING))
		return HANDLE_MY_FLOW;
	return tracking_has(ctx, f, &s, state == DRAINING) ? HANDLE_MY_FLOW : DROP_NOT_MY_FLOW;
}

static __always_inline int moving_whole(frame *ctx, struct flow *f, enum bucket_state state, __u64 now)
{
	if (f->protocol == IPPROTO_TCP)
		return moving_tcp(ctx, f, state);
	if (f->protocol == IPPROTO_UDP && udp_keep)
		return moving_udp(ctx, f, state, now);
	return new_owners(f, state);
}

/*
 * The first fragment of a datagram has the ports and is decided as a whole
 * packet would be; the others go where it went. One that comes before the first
 * is the new owner's. So are quoted ones, and with the flow affinity those of
 * UDP, which are in a bucket of their own.
 */
static __noinline int moving_fragment(frame *ctx, struct flow *f, enum bucket_state state, __u64 now)
{
	struct datagram datagram = {};
	__u32 *remembered, verdict;
	bool first;

	if (f->quoted || (affinity == BY_FLOW && f->protocol == IPPROTO_UDP) || !load_fragment(ctx, f, &datagram, &first))
		return new_owners(f, state);
	if (!first) {
		remembered = bpf_map_lookup_elem(&fragments, &datagram);
		return remembered ? *remembered : new_owners(f, state);
	}
	f->fragment = false;
	verdict = moving_whole(ctx, f, state, now);
	bpf_map_update_elem(&fragments, &datagram, &verdict, BPF_ANY);
	count(FIRST_FRAGMENT);
	return verdict;
}

/* A packet in a bucket that moves. */
static __always_inline int moving(frame *ctx, struct flow *f, enum bucket_state state, __u64 now)
{
	if (!flow_sources)
		return new_owners(f, state);
	return f->fragment ? moving_fragment(ctx, f, state, now) : moving_whole(ctx, f, state, now);
}

#endif
