/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A frame as the including program sees it. The decision is written once and
 * compiled for XDP (SHOAL_XDP defined) and for TC. Only the first bytes are
 * read in place; what lies deeper is copied out by load(), which also reaches
 * the fragments of frames that are not in one piece.
 */
#ifndef SHOAL_FRAME_H
#define SHOAL_FRAME_H

#include <linux/if_ether.h>
#include "maps.h"

#ifdef SHOAL_XDP
typedef struct xdp_md frame;
#define load bpf_xdp_load_bytes
#else
typedef struct __sk_buff frame;
#define load bpf_skb_load_bytes
#endif

struct ethernet {
	struct mac dst;
	struct mac src;
	__u16 type; /* network byte order */
};

static __always_inline void *frame_data(const frame *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *frame_end(const frame *ctx)
{
	return (void *)(long)ctx->data_end;
}

/* In bytes, with what is not in the first piece. */
static __always_inline __u32 frame_length(frame *ctx)
{
#ifdef SHOAL_XDP
	return bpf_xdp_get_buff_len(ctx);
#else
	return ctx->len;
#endif
}

/* Offsets that can be read in place: all headers begin at even ones. */
#define NEAR 0xfe

static __always_inline bool is_near(__u32 offset)
{
	return !(offset & ~NEAR);
}

/* Where an offset that is_near() is; the bound is for the verifier. */
static __always_inline void *near(const frame *ctx, __u32 offset)
{
	return frame_data(ctx) + (offset & NEAR);
}

/* Loads a header. Where it is in reach that saves the helper's 20 ns. */
static __always_inline long load_header(frame *ctx, __u32 offset, void *to, __u32 size)
{
	void *from = near(ctx, offset);

	if (!is_near(offset) || from + size > frame_end(ctx))
		return load(ctx, offset, to, size);
	__builtin_memcpy(to, __builtin_assume_aligned(from, 2), size);
	return 0;
}

/* Whether a packet of that many bytes fits in behind the Ethernet header. */
static __always_inline bool holds(frame *ctx, __u32 length)
{
	return frame_data(ctx) + ETH_HLEN + length <= frame_end(ctx) || ETH_HLEN + length <= frame_length(ctx);
}

/* A packet merged from many can be longer than its length field can say (BIG TCP). */
static __always_inline bool merged(const frame *ctx)
{
#ifdef SHOAL_XDP
	return false;
#else
	return ctx->gso_size;
#endif
}

#endif
