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

/* The beginning of a TCP header, in halves of words: it is aligned no better. */
struct tcp_start {
	__u16 source, dest;
	__u16 seq[2], ack_seq[2];
	__u8 offset, flags;
};

#define TCP_SYN 0x02
#define TCP_ACK 0x10

static __always_inline __u32 number_of(const __u16 *half)
{
	return (__u32)bpf_ntohs(half[0]) << 16 | bpf_ntohs(half[1]);
}

#define QUOTED_BYTES 8 /* of what an ICMP error quotes these are sure to be there (RFC 792) */

/*
 * Loads a segment, and fills in its flow's ports; false: cut off, as in a first
 * fragment. The number of a quoted one stands for the ACK that it would have
 * drawn.
 */
static __always_inline bool load_segment(frame *ctx, struct flow *f, struct segment *s)
{
	struct tcp_start tcp = {};

	if (f->quoted) {
		if (load_within(ctx, f->end, f->l4, &tcp, QUOTED_BYTES))
			return false;
		s->opens = false;
		s->acks = true;
		s->number = number_of(tcp.seq) + 1;
	} else {
		if (f->l4 + sizeof(struct tcphdr) > f->end || load_header(ctx, f->l4, &tcp, sizeof(tcp)))
			return false;
		s->opens = (tcp.flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
		s->acks = tcp.flags & TCP_ACK;
		s->number = number_of(s->acks ? tcp.ack_seq : tcp.seq);
	}
	f->sport = tcp.source;
	f->dport = tcp.dest;
	return true;
}

/* Whether a sequence number is in a range, both ends included; numbers wrap. */
static __always_inline bool between(__u32 first, __u32 number, __u32 last)
{
	return number - first <= last - first;
}

#endif
