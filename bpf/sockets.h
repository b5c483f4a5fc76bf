/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The TCP connections that this host has sockets for. */
#ifndef SHOAL_SOCKETS_H
#define SHOAL_SOCKETS_H

#include <bpf/bpf_core_read.h>
#include "segment.h"

/* include/net/tcp_states.h */
#define TCP_TIME_WAIT 6
#define TCP_LISTEN 10
#define TCP_NEW_SYN_RECV 12

/* The few fields that are read of the structures of include/linux/tcp.h and include/net/sock.h. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct tcp_request_sock {
	__u32 snt_isn, rcv_nxt;
};
struct tcp_sock {
	__u32 snd_una, write_seq, max_window; /* what it sent */
	__u32 rcv_nxt, rcv_wnd;               /* what it takes */
};
struct sock_common {
	__u32 skc_tw_snd_nxt, skc_tw_rcv_nxt;
};
#pragma clang attribute pop

/* Since 6.2. bpf_skc_to_tcp_request_sock() does not know the requests of MPTCP listeners. */
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym;

#define read_as(type, sk) ((const type *)bpf_rdonly_cast(sk, bpf_core_type_id_kernel(type)))

/* A SYN that was answered with a cookie left no request: its last ACK finds the listener and brings the cookie. */
static __always_inline bool cookie_fits(frame *ctx, struct bpf_sock *listener, const struct flow *f)
{
	__u32 size = f->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	void *ip = frame_data(ctx) + ETH_HLEN;
	struct tcphdr tcp;

	return !load_header(ctx, f->l4, &tcp, sizeof(tcp)) && ip + sizeof(struct ipv6hdr) <= frame_end(ctx) &&
	       !bpf_tcp_check_syncookie(listener, ip, size, &tcp, sizeof(tcp));
}

/*
 * A request waits for the handshake's last ACK. Two nodes may have one when the
 * SYN came twice, and the one that the ACK does not fit would answer with a
 * reset that ends the client's connection. What has no ACK, a reset, fits both:
 * the new owner takes it.
 */
static __always_inline bool request_fits(const struct tcp_request_sock *request, const struct segment *s, bool draining)
{
	return s->acks ? s->number == request->snt_isn + 1 : !draining && s->number == request->rcv_nxt;
}

/* Who waits or waits for a FIN has had all that it sent acknowledged. */
static __always_inline bool time_wait_fits(const struct sock_common *sk, const struct segment *s)
{
	return s->number == (s->acks ? sk->skc_tw_snd_nxt : sk->skc_tw_rcv_nxt);
}

/*
 * An ACK must be one that the socket could take or answer (RFC 5961, 5.2). What
 * is written counts as sent: the ACK may be here before snd_nxt is moved on.
 * One more than that is the number of an empty segment that an error quotes.
 */
static __always_inline bool connection_fits(const struct tcp_sock *sk, const struct segment *s)
{
	if (s->acks)
		return between(sk->snd_una - sk->max_window, s->number, sk->write_seq + 1);
	return between(sk->rcv_nxt - 1, s->number, sk->rcv_nxt + sk->rcv_wnd);
}

/* Whether a socket of this host has the connection that a segment is part of. */
static __always_inline bool socket_has(frame *ctx, const struct flow *f, const struct segment *s, bool draining)
{
	struct bpf_sock_tuple tuple;
	struct bpf_sock *sk;
	bool mine;

	sk = bpf_skc_lookup_tcp(ctx, &tuple, tuple_of(f, &tuple), BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	switch (sk->state) {
	case TCP_LISTEN:
		mine = !f->quoted && cookie_fits(ctx, sk, f);
		break;
	case TCP_NEW_SYN_RECV:
		mine = request_fits(read_as(struct tcp_request_sock, sk), s, draining);
		break;
	case TCP_TIME_WAIT:
		mine = time_wait_fits(read_as(struct sock_common, sk), s);
		break;
	default:
		mine = connection_fits(read_as(struct tcp_sock, sk), s);
	}
	bpf_sk_release(sk);
	return mine;
}

#endif
