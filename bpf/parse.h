/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* From a frame to the flow that it belongs to. */
#ifndef SHOAL_PARSE_H
#define SHOAL_PARSE_H

#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include "frame.h"

#define IP_MORE_OR_OFFSET 0x3fff  /* RFC 791: the MF flag and the fragment's offset */
#define IP_OFFSET 0x1fff
#define IP6_MORE_OR_OFFSET 0xfff9 /* RFC 8200, 4.5 */
#define IP6_OFFSET 0xfff8

/* More extension headers than any host sends: a longer chain is malformed. */
#define MAX_EXTENSIONS 8

#define IP6_FRAGMENT 44
/* linux/icmp.h and linux/if_arp.h need libc's headers, which are of the host, not of BPF. */
#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_SOURCE_QUENCH 4
#define ICMP_REDIRECT 5
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMP_HEADER 8 /* of ICMPv6 too; what an error quotes comes behind it */

#define ICMP6 58
#define ICMP6_FIRST_INFO 128 /* RFC 4443, 2.1: lower types are errors */
#define ICMP6_ECHO 128
#define ICMP6_ECHO_REPLY 129
#define ICMP6_ROUTER_SOLICIT 133
#define ICMP6_NEIGHBOUR_SOLICIT 135
#define ICMP6_NEIGHBOUR_ADVERT 136
#define ICMP6_REDIRECT 137

#define NO_VERDICT (-1)

struct flow {
	__u32 src[4], dst[4]; /* as loaded; IPv4 in the first word */
	__u16 sport, dport;   /* network byte order; 0 until load_ports() */
	__u32 l4;             /* where the protocol's header starts in the frame */
	__u32 end;            /* where the packet ends in the frame, padding excluded */
	__u8 protocol;
	__u8 icmp_type; /* where is_icmp(), after follow_icmp() */
	bool v6;
	bool fragment; /* and not the whole of a datagram: has no ports to rely on */
	bool quoted;   /* read from an ICMP error: goes the other way than the frame */
};

/* What follows an IPv6 header and its extensions. */
struct upper {
	__u32 offset, end;
	__u8 protocol;
	bool fragment;
};

/* Loads from a packet only, not from what Ethernet pads a short one with. */
static __always_inline long load_within(frame *ctx, __u32 end, __u32 offset, void *to, __u32 size)
{
	return offset + size > end ? -1 : load(ctx, offset, to, size);
}

static __always_inline bool has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

/* The least that a protocol's header needs. */
static __always_inline __u32 shortest(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return 20;
	case IPPROTO_SCTP:
		return 12;
	case IPPROTO_UDP:
	case IPPROTO_ICMP:
	case ICMP6:
		return 8;
	default:
		return 0;
	}
}

static __always_inline bool is_extension(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IP6_FRAGMENT ||
	       protocol == IPPROTO_AH || protocol == IPPROTO_DSTOPTS;
}

/*
 * Steps over IPv6 extension headers; false: cut off, or too many. Of a fragment
 * the protocol is the one that its header names: only that is the same in all
 * fragments of a datagram.
 */
static __noinline bool skip_extensions(frame *ctx, struct upper *up)
{
	struct {
		__u8 next, length;
		__u16 fragment;
	} ext;

	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		if (!is_extension(up->protocol))
			return true;
		if (load_within(ctx, up->end, up->offset, &ext, sizeof(ext)))
			return false;
		if (up->protocol == IP6_FRAGMENT) {
			up->offset += 8;
			if (ext.fragment & bpf_htons(IP6_MORE_OR_OFFSET)) {
				up->fragment = true;
				up->protocol = ext.next;
				return true;
			}
		} else if (up->protocol == IPPROTO_AH) {
			up->offset += (ext.length + 2) * 4;
		} else {
			up->offset += (ext.length + 1) * 8;
		}
		up->protocol = ext.next;
	}
	return !is_extension(up->protocol);
}

static __always_inline int parse_ipv4(frame *ctx, struct flow *f)
{
	struct iphdr *ip = frame_data(ctx) + ETH_HLEN;
	__u32 header, total;

	if ((void *)(ip + 1) > frame_end(ctx))
		return DROP_MALFORMED;
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (!total && merged(ctx))
		total = 0xffff;
	if (ip->version != 4 || header < sizeof(*ip) || total < header || !holds(ctx, total))
		return DROP_MALFORMED;
	f->v6 = false;
	f->src[0] = ip->saddr;
	f->dst[0] = ip->daddr;
	f->protocol = ip->protocol;
	f->l4 = ETH_HLEN + header;
	f->end = ETH_HLEN + total;
	f->fragment = ip->frag_off & bpf_htons(IP_MORE_OR_OFFSET);
	if (!f->fragment && total - header < shortest(f->protocol))
		return DROP_MALFORMED;
	return NO_VERDICT;
}

static __always_inline int parse_ipv6(frame *ctx, struct flow *f)
{
	struct ipv6hdr *ip = frame_data(ctx) + ETH_HLEN;
	struct upper up;
	__u32 total;

	if ((void *)(ip + 1) > frame_end(ctx))
		return DROP_MALFORMED;
	total = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	if (!ip->payload_len && merged(ctx))
		total = 0xffff;
	if (ip->version != 6 || !holds(ctx, total))
		return DROP_MALFORMED;
	f->v6 = true;
	__builtin_memcpy(f->src, &ip->saddr, sizeof(f->src));
	__builtin_memcpy(f->dst, &ip->daddr, sizeof(f->dst));
	f->end = ETH_HLEN + total;
	f->l4 = ETH_HLEN + sizeof(*ip);
	f->protocol = ip->nexthdr;
	f->fragment = false;
	if (is_extension(f->protocol)) {
		up = (struct upper){ .offset = f->l4, .end = f->end, .protocol = f->protocol };
		if (!skip_extensions(ctx, &up))
			return DROP_MALFORMED;
		f->protocol = up.protocol;
		f->l4 = up.offset;
		f->fragment = up.fragment;
	}
	if (f->end < f->l4 + (f->fragment ? 0 : shortest(f->protocol)))
		return DROP_MALFORMED;
	return NO_VERDICT;
}

/* The flow of the packet that an ICMP error quotes, at `offset` and before f->end; false: cut off. */
static __noinline bool parse_quote(frame *ctx, __u32 offset, struct flow *f)
{
	if (f->v6) {
		struct ipv6hdr ip;
		struct upper up;

		if (load_within(ctx, f->end, offset, &ip, sizeof(ip)) || ip.version != 6)
			return false;
		__builtin_memcpy(f->src, &ip.saddr, sizeof(f->src));
		__builtin_memcpy(f->dst, &ip.daddr, sizeof(f->dst));
		up.offset = offset + sizeof(ip);
		up.end = f->end;
		up.protocol = ip.nexthdr;
		up.fragment = false;
		/* A chain that the quote cuts off hides the protocol, not the addresses. */
		if (!skip_extensions(ctx, &up))
			up.protocol = IPPROTO_NONE;
		f->protocol = up.protocol;
		f->l4 = up.offset;
		f->fragment = up.fragment;
	} else {
		struct iphdr ip;

		if (load_within(ctx, f->end, offset, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
			return false;
		f->src[0] = ip.saddr;
		f->dst[0] = ip.daddr;
		f->protocol = ip.protocol;
		f->l4 = offset + ip.ihl * 4;
		f->fragment = ip.frag_off & bpf_htons(IP_MORE_OR_OFFSET);
	}
	f->quoted = true;
	return true;
}

/*
 * What the fragments of a datagram have in common, and whether this one is the
 * first; not of a quoted one. False: cut off.
 */
static __always_inline bool load_fragment(frame *ctx, const struct flow *f, struct datagram *d, bool *first)
{
	union {
		struct {
			__u16 id, offset;
		} v4; /* RFC 791: bytes 4 to 7 of the header */
		struct {
			__u16 offset, id[2];
		} v6; /* RFC 8200, 4.5: bytes 2 to 7 */
	} field;

	address_set(&d->src, f->src, f->v6);
	address_set(&d->dst, f->dst, f->v6);
	d->protocol = f->protocol;
	d->v6 = f->v6;
	if (f->v6) {
		if (load_header(ctx, f->l4 - sizeof(field.v6), &field.v6, sizeof(field.v6)))
			return false;
		d->id = (__u32)field.v6.id[0] << 16 | field.v6.id[1];
		*first = !(field.v6.offset & bpf_htons(IP6_OFFSET));
		return true;
	}
	if (load_header(ctx, ETH_HLEN + 4, &field.v4, sizeof(field.v4)))
		return false;
	d->id = field.v4.id;
	*first = !(field.v4.offset & bpf_htons(IP_OFFSET));
	return true;
}

static __always_inline bool is_icmp(const struct flow *f)
{
	return f->protocol == (f->v6 ? ICMP6 : IPPROTO_ICMP) && !f->fragment;
}

static __always_inline bool is_icmp_error(const struct flow *f)
{
	if (f->v6)
		return f->icmp_type < ICMP6_FIRST_INFO;
	switch (f->icmp_type) {
	case ICMP_DEST_UNREACH:
	case ICMP_SOURCE_QUENCH:
	case ICMP_REDIRECT:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETERPROB:
		return true;
	default:
		return false;
	}
}

/* An ICMP error belongs to the flow that it is about; other ICMP to its own. */
static __always_inline int follow_icmp(frame *ctx, struct flow *f)
{
	struct flow quote = {};

	if (load(ctx, f->l4, &quote.icmp_type, 1))
		return DROP_MALFORMED;
	f->icmp_type = quote.icmp_type;
	if (!is_icmp_error(f))
		return NO_VERDICT;
	quote.v6 = f->v6;
	quote.end = f->end;
	if (!parse_quote(ctx, f->l4 + ICMP_HEADER, &quote))
		return DROP_MALFORMED;
	if (is_icmp(&quote) && load_within(ctx, quote.end, quote.l4, &quote.icmp_type, 1))
		return DROP_MALFORMED;
	*f = quote;
	return NO_VERDICT;
}

/* Fills in the ports of a flow that has them; false: cut off. */
static __always_inline bool load_ports(frame *ctx, struct flow *f)
{
	__u16 ports[2];

	if (!has_ports(f->protocol) || f->fragment)
		return true;
	if (f->l4 + sizeof(ports) > f->end || load_header(ctx, f->l4, ports, sizeof(ports)))
		return false;
	f->sport = ports[0];
	f->dport = ports[1];
	return true;
}

#endif
