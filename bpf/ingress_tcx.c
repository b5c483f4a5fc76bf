// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The decision in TC, where XDP is not to be had or costs more than it saves.
 * Nothing of a frame is rewritten but the target of an ARP reply: the stack
 * goes by the packet type.
 */
#include "ingress.h"
#include "tcx.h"

char _license[] SEC("license") = "Dual BSD/GPL";

static __always_inline void to_host(struct __sk_buff *skb, int verdict)
{
	struct ethernet *eth = frame_data(skb);
	struct mac own = mac_copy(&own_mac), target;

	if ((void *)(eth + 1) > frame_end(skb) || !mac_equal(&eth->dst, &cluster_mac))
		return;
	if (skb->pkt_type != PACKET_HOST)
		bpf_skb_change_type(skb, PACKET_HOST);
	if (verdict == PASS_NEIGHBOUR && eth->type == bpf_htons(ETH_P_ARP) &&
	    !load(skb, ARP_TARGET_MAC, &target, sizeof(target)) && mac_equal(&target, &cluster_mac))
		bpf_skb_store_bytes(skb, ARP_TARGET_MAC, &own, sizeof(own), 0);
}

/* Action mark: no drop of what a bucket decided, the user's rules see to it. */
static __always_inline int mark(struct __sk_buff *skb, int verdict)
{
	switch (verdict) {
	case HANDLE_OWNED:
	case HANDLE_NEW_FLOW:
	case HANDLE_MY_FLOW:
		skb->mark = (skb->mark & ~mark_mask) | mark_value;
		return MARK_OWNED;
	case DROP_FOREIGN:
	case DROP_NO_LEASE:
	case DROP_STALE_TABLE:
	case DROP_NOT_MY_FLOW:
	case DROP_NEW_FLOW:
	case DROP_KEPT:
	case DROP_HELD:
	case DROP_UNTRACKED:
		skb->mark = (skb->mark & ~foreign_mark_mask) | foreign_mark_value;
		return MARK_FOREIGN;
	default:
		return verdict;
	}
}

SEC("tcx/ingress")
int shoal_tcx(struct __sk_buff *skb)
{
	int verdict;

	pull_headers(skb);
	verdict = skb->vlan_present ? PASS_VLAN : ingress(skb);
	if (marking)
		verdict = mark(skb, verdict);
	count(verdict);
	if (verdict > LAST_HOST)
		return TCX_DROP;
	if (verdict > LAST_PASS)
		to_host(skb, verdict);
	return TCX_NEXT;
}
