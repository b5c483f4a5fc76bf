/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * UDP in buckets that move, where flows are kept. No packet tells that it opens
 * one. So the old owner knows its flows, from connection tracking in gateways
 * and else from a map that it fills while it owns the bucket; and the new owner
 * has a list of them, to leave those alone and take the rest.
 */
#ifndef SHOAL_UDP_H
#define SHOAL_UDP_H

#include "conntrack.h"

/* ns for which the new owner leaves a flow alone after the old one gave it up: clocks and wires differ. */
#define UDP_MARGIN 2000000000ULL

/* Whether packets of owned buckets have to be noted. */
static __always_inline bool notes_udp(void)
{
	return udp_keep && (flow_sources & SOCKETS);
}

static __always_inline void udp_flow_of(const struct flow *f, struct udp_flow *key)
{
	bool forward = from_client(f, true);

	address_set(&key->client, forward ? f->src : f->dst, f->v6);
	address_set(&key->server, forward ? f->dst : f->src, f->v6);
	key->client_port = forward ? f->sport : f->dport;
	key->server_port = forward ? f->dport : f->sport;
}

static __always_inline void note_udp(const struct udp_flow *key, __u64 now)
{
	__u64 *seen = bpf_map_lookup_elem(&udp_flows, key);

	if (seen)
		*seen = now;
	else
		bpf_map_update_elem(&udp_flows, key, &now, BPF_ANY);
}

/*
 * A UDP packet in a bucket that is owned. With the flow affinity fragments are
 * in a bucket of their own, and none of a flow's.
 */
static __noinline int owned_udp(frame *ctx, struct flow *f, __u64 now)
{
	struct datagram datagram = {};
	struct udp_flow key;
	bool first = true;

	if (f->quoted || (f->fragment && (affinity == BY_FLOW || !load_fragment(ctx, f, &datagram, &first) || !first)))
		return HANDLE_OWNED;
	f->fragment = false;
	if (!load_ports(ctx, f))
		return HANDLE_OWNED;
	udp_flow_of(f, &key);
	note_udp(&key, now);
	return HANDLE_OWNED;
}

/* Draining, or held: whether this host has the flow. What is quoted is not of the client. */
static __always_inline bool has_udp(frame *ctx, const struct flow *f, const struct udp_flow *key, __u64 now)
{
	__u64 *seen;

	if (!notes_udp())
		return tracking_has_udp(ctx, f);
	seen = bpf_map_lookup_elem(&udp_flows, key);
	if (!seen || now > *seen + udp_timeout) /* it may have been seen since now, on another processor */
		return false;
	if (!f->quoted)
		*seen = now;
	return true;
}

/*
 * Acquiring: whether an old owner keeps the flow. It sees the same packets, and
 * keeps the flow for another timeout with each that it takes: so does this. It
 * takes none that comes later than the timeout: that moves nothing here.
 */
static __always_inline bool is_kept(const struct flow *f, const struct udp_flow *key, __u64 now)
{
	struct frozen_flow *flow = bpf_map_lookup_elem(&frozen, key);
	__u64 next = now + udp_timeout + UDP_MARGIN;

	if (!flow || now >= flow->until)
		return false;
	if (!f->quoted && flow->until - now >= UDP_MARGIN && flow->until < next)
		flow->until = next;
	return true;
}

/* A UDP packet in a bucket that moves; flows are kept. */
static __noinline int moving_udp(frame *ctx, struct flow *f, enum bucket_state state, __u64 now)
{
	struct udp_flow key;

	if (!load_ports(ctx, f))
		return DROP_MALFORMED;
	udp_flow_of(f, &key);
	if (state != ACQUIRING) {
		if (has_udp(ctx, f, &key, now)) /* held: the bucket comes back to a node that was draining it */
			return HANDLE_MY_FLOW;
		return state == DRAINING ? DROP_NOT_MY_FLOW : DROP_HELD;
	}
	if (is_kept(f, &key, now))
		return DROP_KEPT;
	if (notes_udp() && !f->quoted)
		note_udp(&key, now);
	return HANDLE_NEW_FLOW;
}

#endif
