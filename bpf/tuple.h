/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A flow as the kernel's lookups want it. */
#ifndef SHOAL_TUPLE_H
#define SHOAL_TUPLE_H

#include "bucket.h"

/* The tuple of a flow as the packets that come in have it; returns its size. */
static __always_inline __u32 tuple_of(const struct flow *f, struct bpf_sock_tuple *t)
{
	if (!f->v6) {
		t->ipv4.saddr = f->quoted ? f->dst[0] : f->src[0];
		t->ipv4.daddr = f->quoted ? f->src[0] : f->dst[0];
		t->ipv4.sport = f->quoted ? f->dport : f->sport;
		t->ipv4.dport = f->quoted ? f->sport : f->dport;
		return sizeof(t->ipv4);
	}
	__builtin_memcpy(t->ipv6.saddr, f->quoted ? f->dst : f->src, 16);
	__builtin_memcpy(t->ipv6.daddr, f->quoted ? f->src : f->dst, 16);
	t->ipv6.sport = f->quoted ? f->dport : f->sport;
	t->ipv6.dport = f->quoted ? f->sport : f->dport;
	return sizeof(t->ipv6);
}

#endif
