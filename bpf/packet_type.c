// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Behind XDP: a frame that was an skb before the driver's XDP hook keeps the
 * packet type of the address that it came with, and TCP takes HOST only.
 */
#include "tcx.h"

char _license[] SEC("license") = "Dual BSD/GPL";

SEC("tcx/ingress")
int shoal_type(struct __sk_buff *skb)
{
	struct ethernet *eth = frame_data(skb);

	if (skb->pkt_type == PACKET_HOST || (void *)(eth + 1) > frame_end(skb) || !mac_equal(&eth->dst, &own_mac))
		return TCX_NEXT;
	bpf_skb_change_type(skb, PACKET_HOST);
	count(TYPE_HOST);
	return TCX_NEXT;
}
