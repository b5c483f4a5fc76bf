/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the TCX programs share. */
#ifndef SHOAL_TCX_H
#define SHOAL_TCX_H

#include <linux/if_packet.h>
#include <linux/ipv6.h>
#include "frame.h"

/* include/uapi/linux/bpf.h, enum tcx_action_base, since 6.6. */
#define TCX_NEXT (-1) /* on to the next program, then to the stack */
#define TCX_DROP 2

/* Headers may lie outside the first piece of a frame: bring those that are read in place into it. */
static __always_inline void pull_headers(struct __sk_buff *skb)
{
	__u32 wanted = ETH_HLEN + sizeof(struct ipv6hdr);

	if (frame_data(skb) + wanted > frame_end(skb) && skb->len > (__u32)(frame_end(skb) - frame_data(skb)))
		bpf_skb_pull_data(skb, skb->len < wanted ? skb->len : wanted);
}

#endif
