// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What goes out. ARP and neighbour discovery that speak for a cluster address
 * name the cluster MAC, which is never the source of a frame. A node that may
 * not act does not talk: packets from a cluster address need the bucket and
 * the lease, as those that come in do.
 */
#include "neighbour.h"
#include "original.h"
#include "tcx.h"

char _license[] SEC("license") = "Dual BSD/GPL";

static __noinline int egress_arp(struct __sk_buff *skb)
{
	struct mac cluster = mac_copy(&cluster_mac);
	struct address sender;
	struct arp arp;

	if (!load_arp(skb, &arp))
		return SENT_OTHER;
	address_set4(&sender, arp_address(arp.sender));
	if (!holders(&sender))
		return SENT_OTHER;
	if (check_lease(active_half(), bpf_ktime_get_boot_ns()) != NO_VERDICT)
		return DROP_SENT_NO_LEASE;
	bpf_skb_store_bytes(skb, ARP_SENDER_MAC, &cluster, sizeof(cluster), 0);
	return SENT_ARP;
}

/* Puts the cluster MAC into a link-layer address option, and the checksum right. */
static __always_inline void rewrite_option(struct __sk_buff *skb, __u32 icmp, __u32 offset, struct nd_option *old)
{
	struct nd_option new = { old->type, old->length, mac_copy(&cluster_mac) };
	__u32 checksum = icmp + __builtin_offsetof(struct neighbour, checksum);
	__s64 diff = bpf_csum_diff((__be32 *)old, sizeof(*old), (__be32 *)&new, sizeof(new), 0);

	bpf_skb_store_bytes(skb, offset, &new, sizeof(new), 0);
	bpf_l4_csum_replace(skb, checksum, 0, diff, 0);
}

/* Neighbour discovery that speaks for a cluster address, by its source or its target. */
static __noinline int egress_nd(struct __sk_buff *skb, const struct flow *f, bool from_cluster)
{
	__u8 type = f->icmp_type == ICMP6_NEIGHBOUR_ADVERT || f->icmp_type == ICMP6_REDIRECT ?
			    TARGET_LINK_LAYER : SOURCE_LINK_LAYER;
	struct nd_option opt;
	struct neighbour nd;
	__u32 offset;

	if (!from_cluster && (f->icmp_type != ICMP6_NEIGHBOUR_ADVERT || load_within(skb, f->end, f->l4, &nd, sizeof(nd)) ||
			      !holders(&nd.target)))
		return SENT_OTHER;
	if (check_lease(active_half(), bpf_ktime_get_boot_ns()) != NO_VERDICT)
		return DROP_SENT_NO_LEASE;
	offset = find_option(skb, f->end, f->l4 + options_offset(f->icmp_type), type, &opt);
	if (offset && mac_equal(&opt.mac, &own_mac))
		rewrite_option(skb, f->l4, offset, &opt);
	return SENT_ND;
}

/* A packet from a cluster address. */
static __noinline int fence(struct __sk_buff *skb, struct flow *f)
{
	__u32 bucket, half = active_half();

	if (is_icmp(f))
		follow_icmp(skb, f);
	if (hash_key == KEY_ORIGINAL) {
		if (original_bucket(skb, f, &bucket) != NO_VERDICT)
			return DROP_SENT_FOREIGN;
	} else {
		if (affinity == BY_FLOW)
			load_ports(skb, f);
		bucket = bucket_of(f, false);
	}
	if (state_of(half, bucket) == FOREIGN)
		return DROP_SENT_FOREIGN;
	return check_lease(half, bpf_ktime_get_boot_ns()) == NO_VERDICT ? SENT_OWNED : DROP_SENT_NO_LEASE;
}

/* Groups have no bucket: a lease is what it takes to send to them. */
static __always_inline int fence_group(void)
{
	return check_lease(active_half(), bpf_ktime_get_boot_ns()) == NO_VERDICT ? SENT_OWNED : DROP_SENT_NO_LEASE;
}

static __always_inline int egress_ipv4(struct __sk_buff *skb)
{
	struct flow f = {};
	struct address src;
	int verdict = parse_ipv4(skb, &f);

	address_set4(&src, f.src[0]);
	if (!holders(&src))
		return SENT_OTHER;
	if (verdict != NO_VERDICT)
		return DROP_SENT_FOREIGN;
	if ((f.dst[0] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) || f.dst[0] == 0xffffffff)
		return fence_group();
	return fence(skb, &f);
}

static __always_inline int egress_ipv6(struct __sk_buff *skb)
{
	struct address src;
	struct flow f = {};
	bool from_cluster;
	int verdict = parse_ipv6(skb, &f);

	__builtin_memcpy(&src, f.src, sizeof(src));
	from_cluster = holders(&src);
	if (verdict != NO_VERDICT)
		return from_cluster ? DROP_SENT_FOREIGN : SENT_OTHER;
	if (f.protocol == ICMP6 && !f.fragment && !load(skb, f.l4, &f.icmp_type, 1) && options_offset(f.icmp_type))
		return egress_nd(skb, &f, from_cluster);
	if (!from_cluster)
		return SENT_OTHER;
	if ((f.dst[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000))
		return fence_group();
	return fence(skb, &f);
}

SEC("tcx/egress")
int shoal_egress(struct __sk_buff *skb)
{
	int verdict = SENT_OTHER;

	pull_headers(skb);
	switch (skb->protocol) {
	case bpf_htons(ETH_P_ARP):
		verdict = egress_arp(skb);
		break;
	case bpf_htons(ETH_P_IP):
		verdict = egress_ipv4(skb);
		break;
	case bpf_htons(ETH_P_IPV6):
		verdict = egress_ipv6(skb);
		break;
	}
	count(verdict);
	return verdict == DROP_SENT_FOREIGN || verdict == DROP_SENT_NO_LEASE ? TCX_DROP : TCX_NEXT;
}
