/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The decision about a frame that comes in. Each function returns a verdict;
 * the programs turn it into an action.
 */
#ifndef SHOAL_INGRESS_H
#define SHOAL_INGRESS_H

#include "moving.h"
#include "neighbour.h"
#include "original.h"

/*
 * Who answers a request for a cluster address: the owner of the asker's
 * bucket, while it moves the new one.
 */
static __always_inline int answer(const __u32 *asker, bool v6, int mine, int foreign)
{
	__u32 half = active_half();
	__u32 state = state_of(half, scale(hash_address(asker, v6)));
	int lease;

	if (state == FOREIGN || state == DRAINING)
		return foreign;
	lease = check_lease(half, bpf_ktime_get_boot_ns());
	return lease != NO_VERDICT ? lease : mine;
}

static __noinline int ingress_arp(frame *ctx, bool to_cluster)
{
	int rest = to_cluster ? PASS_NEIGHBOUR : PASS_OTHER;
	struct address sender, target;
	__u32 asker, asked, claimed;
	struct arp arp;

	if (!load_arp(ctx, &arp))
		return to_cluster ? DROP_MALFORMED : PASS_OTHER;
	asker = arp_address(arp.sender);
	address_set4(&sender, asker);
	address_set4(&target, arp_address(arp.target));
	asked = holders(&target);
	claimed = holders(&sender);
	if (claimed) {
		if ((claimed & interface_bit) && !mac_equal(&arp.sender_mac, &cluster_mac))
			count(ALARM_CONFLICT);
		if (asked)
			return DROP_ARP_CLUSTER;
	}
	if (arp.op != bpf_htons(ARPOP_REQUEST) || !asked)
		return rest;
	/* Held by another interface of the cluster: its own link is where it is asked for. */
	if (!(asked & interface_bit))
		return DROP_ARP_FOREIGN;
	return answer(&asker, false, ANSWER_ARP, DROP_ARP_FOREIGN);
}

/*
 * Whether the sender of a message claims a cluster address, which `claimed`
 * interfaces hold, for a MAC that is not the cluster's. Of an address that is
 * not this interface's the MAC is not known here: where two interfaces are on
 * one link, it is the other's affair.
 */
static __always_inline bool conflicts(frame *ctx, const struct flow *f, __u8 type, __u32 claimed)
{
	struct nd_option opt;

	if (!(claimed & interface_bit))
		return false;
	return find_option(ctx, f->end, f->l4 + sizeof(struct neighbour), type, &opt) && !mac_equal(&opt.mac, &cluster_mac);
}

/* A neighbour solicitation or advertisement. */
static __noinline int ingress_nd(frame *ctx, const struct flow *f, bool to_cluster)
{
	int rest = to_cluster ? PASS_NEIGHBOUR : PASS_OTHER;
	struct address source;
	struct neighbour nd;
	__u32 asked, claimed;

	if (load_within(ctx, f->end, f->l4, &nd, sizeof(nd)))
		return to_cluster ? DROP_MALFORMED : PASS_OTHER;
	asked = holders(&nd.target);
	if (nd.type == ICMP6_NEIGHBOUR_ADVERT) {
		if (!asked)
			return rest;
		if (conflicts(ctx, f, TARGET_LINK_LAYER, asked))
			count(ALARM_CONFLICT);
		return DROP_ND_CLUSTER;
	}
	__builtin_memcpy(&source, f->src, sizeof(source));
	claimed = holders(&source);
	if (claimed) {
		if (conflicts(ctx, f, SOURCE_LINK_LAYER, claimed))
			count(ALARM_CONFLICT);
		if (asked)
			return DROP_ND_CLUSTER;
	}
	if (!asked)
		return rest;
	if (!(asked & interface_bit))
		return DROP_ND_FOREIGN;
	return answer(source.words, true, ANSWER_ND, DROP_ND_FOREIGN);
}

/* Solicitations and advertisements; others are packets like any. */
static __always_inline bool is_neighbour(const struct flow *f)
{
	return f->v6 && f->protocol == ICMP6 &&
	       (f->icmp_type == ICMP6_NEIGHBOUR_SOLICIT || f->icmp_type == ICMP6_NEIGHBOUR_ADVERT);
}

static __noinline bool fill_heartbeat(frame *ctx, struct heartbeat *hb, __u32 length, __u32 node)
{
	hb->received = bpf_ktime_get_boot_ns();
	hb->ifindex = ctx->ingress_ifindex;
	hb->length = length;
	hb->node = node;
	return !load(ctx, 0, hb->frame, length);
}

/* Hands a heartbeat to its receiver. Its header fields have been checked. */
static __noinline int take_heartbeat(frame *ctx, __u32 node)
{
	__u32 length = frame_length(ctx);
	struct heartbeat *hb;

	if (length < ETH_HLEN || length > HEARTBEAT_MAX)
		return DROP_HEARTBEAT;
	hb = bpf_ringbuf_reserve(&heartbeats, sizeof(*hb), 0);
	if (!hb)
		return DROP_HEARTBEAT_FULL;
	if (!fill_heartbeat(ctx, hb, length, node)) {
		bpf_ringbuf_discard(hb, 0);
		return DROP_HEARTBEAT;
	}
	/* Without flags the poller is woken unless it has records left to take, when it is not asleep. */
	bpf_ringbuf_submit(hb, 0);
	return HEARTBEAT;
}

/*
 * Whatever comes to the heartbeat port of a cluster address. TTL 255 shows
 * that no router sent it on (RFC 5082).
 */
static __always_inline int ingress_heartbeat(frame *ctx, struct flow *f, __u8 ttl)
{
	struct address src, dst;
	__u32 *node;

	if (!load_ports(ctx, f))
		return DROP_MALFORMED;
	if (f->dport != heartbeat_port)
		return NO_VERDICT;
	address_set(&src, f->src, f->v6);
	address_set(&dst, f->dst, f->v6);
	if (!holders(&dst))
		return NO_VERDICT;
	node = bpf_map_lookup_elem(&peers, &src);
	if (!node || ttl != 255)
		return DROP_HEARTBEAT;
	return take_heartbeat(ctx, *node);
}

/*
 * What the state of its bucket makes of a packet; NO_VERDICT: that takes a
 * closer look.
 */
static __always_inline int by_state(const struct flow *f, __u32 bucket, __u32 *state, __u64 *now)
{
	__u32 half = active_half();
	int verdict;

	count_bucket(bucket);
	*state = state_of(half, bucket);
	if (*state == FOREIGN)
		return DROP_FOREIGN;
	*now = bpf_ktime_get_boot_ns();
	verdict = check_lease(half, *now);
	if (verdict != NO_VERDICT)
		return verdict;
	return *state == OWNED && !(notes_udp() && f->protocol == IPPROTO_UDP) ? HANDLE_OWNED : NO_VERDICT;
}

static __always_inline int look_closer(frame *ctx, struct flow *f, __u32 state, __u64 now)
{
	return state == OWNED ? owned_udp(ctx, f, now) : moving(ctx, f, state, now);
}

/* Whether a packet goes to the heartbeat port, or has it where no look in place reaches. */
static __always_inline bool may_be_heartbeat(frame *ctx, const struct flow *f)
{
	__u16 *ports = near(ctx, f->l4);

	if (!heartbeat_port || f->protocol != IPPROTO_UDP || f->fragment)
		return false;
	return !is_near(f->l4) || (void *)(ports + 2) > frame_end(ctx) || ports[1] == heartbeat_port;
}

/* What is an ICMP message, may be a heartbeat, or takes connection tracking to find its bucket. */
static __noinline int ingress_special(frame *ctx, struct flow *f, __u8 ttl)
{
	int verdict = NO_VERDICT;
	__u32 bucket, state;
	__u64 now;

	if (is_icmp(f))
		verdict = follow_icmp(ctx, f);
	else if (may_be_heartbeat(ctx, f))
		verdict = ingress_heartbeat(ctx, f, ttl);
	if (verdict != NO_VERDICT)
		return verdict;
	if (affinity == BY_FLOW && !load_ports(ctx, f))
		return DROP_MALFORMED;
	if (hash_key != KEY_ORIGINAL)
		bucket = bucket_of(f, true);
	else if ((verdict = original_bucket(ctx, f, &bucket)) != NO_VERDICT)
		return verdict;
	verdict = by_state(f, bucket, &state, &now);
	return verdict == NO_VERDICT ? look_closer(ctx, f, state, now) : verdict;
}

/* A parsed packet to the cluster MAC. */
static __always_inline int ingress_packet(frame *ctx, struct flow *f, __u8 ttl)
{
	struct flow copy; /* so that f itself can stay in registers */
	__u32 state;
	__u64 now;
	int verdict;

	if (hash_key == KEY_ORIGINAL || is_icmp(f) || may_be_heartbeat(ctx, f)) {
		copy = *f;
		return ingress_special(ctx, &copy, ttl);
	}
	if (affinity == BY_FLOW && !load_ports(ctx, f))
		return DROP_MALFORMED;
	verdict = by_state(f, bucket_of(f, true), &state, &now);
	if (verdict != NO_VERDICT)
		return verdict;
	copy = *f;
	return look_closer(ctx, &copy, state, now);
}

static __always_inline int ingress_ipv4(frame *ctx)
{
	struct iphdr *ip = frame_data(ctx) + ETH_HLEN;
	struct flow f = {};
	int verdict = parse_ipv4(ctx, &f);

	if (verdict != NO_VERDICT)
		return verdict;
	if ((f.dst[0] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) || f.dst[0] == 0xffffffff)
		return PASS_MULTICAST;
	if ((void *)(ip + 1) > frame_end(ctx))
		return DROP_MALFORMED;
	return ingress_packet(ctx, &f, ip->ttl);
}

/* Solicitations come to a group of the address that they ask for, not to the cluster MAC. */
static __always_inline bool may_solicit(frame *ctx)
{
	struct ipv6hdr *ip = frame_data(ctx) + ETH_HLEN;

	if ((void *)(ip + 1) > frame_end(ctx))
		return false;
	return ip->nexthdr == ICMP6 || is_extension(ip->nexthdr);
}

static __always_inline int ingress_ipv6(frame *ctx, bool to_cluster)
{
	struct ipv6hdr *ip = frame_data(ctx) + ETH_HLEN;
	struct flow f = {}, copy;
	int verdict = parse_ipv6(ctx, &f);
	__u8 type;

	if (verdict != NO_VERDICT)
		return to_cluster ? verdict : PASS_OTHER;
	if (f.protocol == ICMP6 && !f.fragment) {
		if (load(ctx, f.l4, &type, sizeof(type)))
			return to_cluster ? DROP_MALFORMED : PASS_OTHER;
		f.icmp_type = type;
		if (is_neighbour(&f)) {
			copy = f;
			return ingress_nd(ctx, &copy, to_cluster);
		}
	}
	if (!to_cluster)
		return PASS_OTHER;
	if ((f.dst[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000))
		return PASS_MULTICAST;
	if ((void *)(ip + 1) > frame_end(ctx))
		return DROP_MALFORMED;
	return ingress_packet(ctx, &f, ip->hop_limit);
}

static __always_inline int ingress(frame *ctx)
{
	struct ethernet *eth = frame_data(ctx);
	bool to_cluster;

	if ((void *)(eth + 1) > frame_end(ctx))
		return PASS_OTHER;
	to_cluster = mac_equal(&eth->dst, &cluster_mac);
	switch (eth->type) {
	case bpf_htons(ETH_P_IP):
		return to_cluster ? ingress_ipv4(ctx) : PASS_OTHER;
	case bpf_htons(ETH_P_IPV6):
		if (!to_cluster && !may_solicit(ctx))
			return PASS_OTHER;
		return ingress_ipv6(ctx, to_cluster);
	case bpf_htons(ETH_P_ARP):
		return ingress_arp(ctx, to_cluster);
	case bpf_htons(ETH_P_8021Q):
	case bpf_htons(ETH_P_8021AD):
		return PASS_VLAN;
	default:
		return to_cluster ? DROP_UNKNOWN_PROTOCOL : PASS_OTHER;
	}
}

#endif
