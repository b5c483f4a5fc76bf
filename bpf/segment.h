/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a TCP segment says of the connection that it is part of. Two nodes may
 * have connections of one pair of ends: after a SYN that came twice, from a
 * client that uses its port again or has lost its memory. The sequence numbers
 * tell them apart, since each node began with a random one of its own.
 */
#ifndef SHOAL_SEGMENT_H
#define SHOAL_SEGMENT_H

#include <linux/tcp.h>
#include "tuple.h"

struct segment {
	bool opens; /* a SYN, and not the answer to one */
	bool acks;  /* `number` is one that the segment acknowledges, else its own */
	__u32 number;
};

/* False: cut off, as in a first fragment. */
static __always_inline bool load_tcp(frame *ctx, const struct flow *f, struct tcphdr *tcp)
{
	return f->l4 + sizeof(*tcp) <= f->end && !load_header(ctx, f->l4, tcp, sizeof(*tcp));
}

/*
 * Loads a segment, and fills in its flow's ports; false: cut off. Of one that an
 * ICMP error quotes the first 8 bytes are sure to be there (RFC 792): its number
 * stands for the ACK that it would have drawn.
 */
static __always_inline bool load_segment(frame *ctx, struct flow *f, struct segment *s)
{
	struct {
		__u16 source, dest;
		__u32 seq;
	} quote;
	struct tcphdr tcp;

	if (f->quoted) {
		if (load_within(ctx, f->end, f->l4, &quote, sizeof(quote)))
			return false;
		f->sport = quote.source;
		f->dport = quote.dest;
		s->opens = false;
		s->acks = true;
		s->number = bpf_ntohl(quote.seq) + 1;
		return true;
	}
	if (!load_tcp(ctx, f, &tcp))
		return false;
	f->sport = tcp.source;
	f->dport = tcp.dest;
	s->opens = tcp.syn && !tcp.ack;
	s->acks = tcp.ack;
	s->number = bpf_ntohl(tcp.ack ? tcp.ack_seq : tcp.seq);
	return true;
}

/* Whether a sequence number is in a range, both ends included; numbers wrap. */
static __always_inline bool between(__u32 first, __u32 number, __u32 last)
{
	return number - first <= last - first;
}

#endif
