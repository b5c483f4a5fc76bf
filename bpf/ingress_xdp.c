// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The decision as early as there is: in the driver, or in generic XDP. */
#define SHOAL_XDP
#include "ingress.h"

char _license[] SEC("license") = "Dual BSD/GPL";

/*
 * The host takes frames to its own address. The packet type of a frame that
 * was an skb before stays what it was: packet_type.c puts that right.
 */
static __always_inline void to_host(struct xdp_md *ctx, int verdict)
{
	struct ethernet *eth = frame_data(ctx);
	struct arp *arp = (void *)(eth + 1);

	if ((void *)(eth + 1) > frame_end(ctx) || !mac_equal(&eth->dst, &cluster_mac))
		return;
	eth->dst = mac_copy(&own_mac);
	if (verdict == PASS_NEIGHBOUR && eth->type == bpf_htons(ETH_P_ARP) && (void *)(arp + 1) <= frame_end(ctx) &&
	    mac_equal(&arp->target_mac, &cluster_mac))
		arp->target_mac = mac_copy(&own_mac);
}

SEC("xdp.frags")
int shoal_xdp(struct xdp_md *ctx)
{
	int verdict = ingress(ctx);

	count(verdict);
	if (verdict > LAST_HOST)
		return XDP_DROP;
	if (verdict > LAST_PASS)
		to_host(ctx, verdict);
	return XDP_PASS;
}
