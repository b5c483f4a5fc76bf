/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Buckets that move between two nodes: the flows that this host has sockets for. */
#ifndef SHOAL_MOVING_H
#define SHOAL_MOVING_H

#include <linux/tcp.h>
#include <bpf/bpf_core_read.h>
#include "tuple.h"

/* include/net/tcp_states.h */
#define TCP_LISTEN 10
#define TCP_NEW_SYN_RECV 12

/* The one field that is read of include/linux/tcp.h's own structure. */
struct tcp_request_sock {
	__u32 snt_isn;
} __attribute__((preserve_access_index));

/* Since 6.2. bpf_skc_to_tcp_request_sock() does not know the requests of MPTCP listeners. */
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym;

/* A SYN that was answered with a cookie left no request: its last ACK finds the listener and brings the cookie. */
static __always_inline bool cookie_fits(struct bpf_sock *listener, const struct flow *f, struct tcphdr *tcp)
{
	union {
		struct iphdr v4;
		struct ipv6hdr v6;
	} ip = {};

	if (!f->v6) {
		ip.v4.version = 4;
		ip.v4.saddr = f->src[0];
		ip.v4.daddr = f->dst[0];
		return !bpf_tcp_check_syncookie(listener, &ip, sizeof(ip.v4), tcp, sizeof(*tcp));
	}
	ip.v6.version = 6;
	__builtin_memcpy(&ip.v6.saddr, f->src, 16);
	__builtin_memcpy(&ip.v6.daddr, f->dst, 16);
	return !bpf_tcp_check_syncookie(listener, &ip, sizeof(ip.v6), tcp, sizeof(*tcp));
}

/*
 * Whether a socket of this host has the TCP flow. A listener has none, but for
 * those that a SYN cookie stands for. A request that waits for the handshake's
 * last ACK may exist on two nodes when the SYN came twice: it is the one whose
 * number the ACK acknowledges, and the other would answer with a reset that
 * ends the client's connection.
 */
static __always_inline bool socket_has(frame *ctx, const struct flow *f, struct tcphdr *tcp)
{
	struct bpf_sock_tuple tuple = {};
	__u32 size = tuple_of(f, &tuple);
	struct tcp_request_sock *request;
	struct bpf_sock *sk;
	bool mine = true;

	sk = bpf_skc_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	if (sk->state == TCP_LISTEN) {
		mine = !f->quoted && cookie_fits(sk, f, tcp);
	} else if (sk->state == TCP_NEW_SYN_RECV && !f->quoted && tcp->ack) {
		request = bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct tcp_request_sock));
		mine = bpf_ntohl(tcp->ack_seq) == request->snt_isn + 1;
	}
	bpf_sk_release(sk);
	return mine;
}

/*
 * A packet in a bucket that moves. Only TCP has flows that a socket tells of:
 * everything else is the new owner's at once, fragments too.
 */
static __noinline int moving(frame *ctx, struct flow *f, enum bucket_state state)
{
	struct tcphdr tcp = {};

	if (f->protocol != IPPROTO_TCP || f->fragment)
		return state == ACQUIRING ? HANDLE_NEW_FLOW : DROP_NOT_MY_FLOW;
	/* Of a packet that an ICMP error quotes only the ports are sure to be there. */
	if (!load_ports(ctx, f) || (!f->quoted && load_header(ctx, f->l4, &tcp, sizeof(tcp))))
		return DROP_MALFORMED;
	if (tcp.syn && !tcp.ack)
		return state == ACQUIRING ? HANDLE_NEW_FLOW : DROP_NOT_MY_FLOW;
	return socket_has(ctx, f, &tcp) ? HANDLE_MY_FLOW : DROP_NOT_MY_FLOW;
}

#endif
