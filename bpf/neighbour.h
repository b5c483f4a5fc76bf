/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* ARP (RFC 826) and neighbour discovery (RFC 4861) as they are on the wire. */
#ifndef SHOAL_NEIGHBOUR_H
#define SHOAL_NEIGHBOUR_H

#include "bucket.h"

#define ARPHRD_ETHER 1
#define ARPOP_REQUEST 1

struct arp {
	__u16 hardware, protocol; /* network byte order, as all here */
	__u8 hardware_length, protocol_length;
	__u16 op;
	struct mac sender_mac;
	__u16 sender[2];
	struct mac target_mac;
	__u16 target[2];
};

#define ARP_SENDER_MAC (ETH_HLEN + __builtin_offsetof(struct arp, sender_mac))
#define ARP_TARGET_MAC (ETH_HLEN + __builtin_offsetof(struct arp, target_mac))

/* Neighbour solicitation and advertisement, without options. */
struct neighbour {
	__u8 type, code;
	__u16 checksum;
	__u32 flags;
	struct address target;
};

#define SOURCE_LINK_LAYER 1
#define TARGET_LINK_LAYER 2
#define MAX_ND_OPTIONS 8

/* A link-layer address option for Ethernet. */
struct nd_option {
	__u8 type, length; /* in units of 8 bytes */
	struct mac mac;
};

static __always_inline __u32 arp_address(const __u16 *half)
{
	union {
		__u16 half[2];
		__u32 word;
	} addr = { { half[0], half[1] } };

	return addr.word;
}

/* Loads an ARP packet for IPv4 over Ethernet; false: it is none. */
static __always_inline bool load_arp(frame *ctx, struct arp *arp)
{
	return !load(ctx, ETH_HLEN, arp, sizeof(*arp)) && arp->hardware == bpf_htons(ARPHRD_ETHER) &&
	       arp->protocol == bpf_htons(ETH_P_IP) && arp->hardware_length == sizeof(struct mac) &&
	       arp->protocol_length == 4;
}

/* Finds a link-layer address option before `end`; returns its offset in the frame, or 0. */
static __noinline __u32 find_option(frame *ctx, __u32 end, __u32 offset, __u8 type, struct nd_option *opt)
{
	for (int i = 0; i < MAX_ND_OPTIONS; i++) {
		if (load_within(ctx, end, offset, opt, sizeof(*opt)) || !opt->length)
			return 0;
		if (opt->type == type && opt->length == 1)
			return offset;
		offset += opt->length * 8;
	}
	return 0;
}

/* Where the options of a neighbour discovery message begin, in its bytes; 0: it is none. */
static __always_inline __u32 options_offset(__u8 type)
{
	switch (type) {
	case ICMP6_ROUTER_SOLICIT:
		return 8;
	case ICMP6_NEIGHBOUR_SOLICIT:
	case ICMP6_NEIGHBOUR_ADVERT:
		return sizeof(struct neighbour);
	case ICMP6_REDIRECT:
		return 40;
	default:
		return 0;
	}
}

#endif
