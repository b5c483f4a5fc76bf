/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The kernel's connection tracking, which knows TCP and UDP by lookup. */
#ifndef SHOAL_CONNTRACK_H
#define SHOAL_CONNTRACK_H

#include "segment.h"

/* The few fields that are read of the structures of include/net/netfilter and include/linux/netfilter. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
union nf_inet_addr {
	__u32 all[4];
};
union nf_conntrack_man_proto {
	__u16 all;
};
struct nf_conntrack_man {
	union nf_inet_addr u3;
	union nf_conntrack_man_proto u;
};
struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
	struct {
		union nf_inet_addr u3;
		union {
			__u16 all;
		} u;
	} dst;
};
struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
};
struct ip_ct_tcp_state {
	__u32 td_end, td_maxend, td_maxwin;
};
struct ip_ct_tcp {
	struct ip_ct_tcp_state seen[2];
	__u8 state;
};
union nf_conntrack_proto {
	struct ip_ct_tcp tcp;
};
struct nf_conn {
	struct nf_conntrack_tuple_hash tuplehash[2];
	union nf_conntrack_proto proto;
};
#pragma clang attribute pop

/* include/uapi/linux/netfilter/nf_conntrack_tcp.h */
enum tcp_conntrack {
	CT_SYN_SENT = 1,
	CT_SYN_RECV = 2,
	CT_ESTABLISHED = 3,
	CT_FIN_WAIT = 4,
	CT_CLOSE_WAIT = 5,
	CT_SYN_SENT2 = 9,
};

/* struct bpf_ct_opts of net/netfilter/nf_conntrack_bpf.c, in the size that 5.18 and later take. */
struct bpf_ct_opts___shoal {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir; /* set by a lookup: 0 where the tuple is of the original direction */
	__u8 reserved[2];
};

#ifdef SHOAL_XDP
extern struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *ctx, struct bpf_sock_tuple *tuple, __u32 tuple_size,
					 struct bpf_ct_opts___shoal *opts, __u32 opts_size) __weak __ksym;
#define ct_lookup bpf_xdp_ct_lookup
#else
extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *ctx, struct bpf_sock_tuple *tuple, __u32 tuple_size,
					 struct bpf_ct_opts___shoal *opts, __u32 opts_size) __weak __ksym;
#define ct_lookup bpf_skb_ct_lookup
#endif
extern void bpf_ct_release(struct nf_conn *conn) __weak __ksym;
extern int bpf_ct_change_timeout(struct nf_conn *conn, __u32 ms) __weak __ksym; /* since 6.0 */

/* The entry of a flow, to be released, or NULL; *reply: the flow's packets go the way of its answers. */
static __always_inline struct nf_conn *tracked(frame *ctx, const struct flow *f, bool *reply)
{
	struct bpf_ct_opts___shoal opts = { .netns_id = BPF_F_CURRENT_NETNS, .l4proto = f->protocol };
	struct bpf_sock_tuple tuple = {};
	struct nf_conn *conn;

	conn = ct_lookup(ctx, &tuple, tuple_of(f, &tuple), &opts, sizeof(opts));
	*reply = opts.dir;
	return conn;
}

/*
 * Whether packets of the original direction go to another address than they
 * are sent to: a service in a container or on another host. Of one on this host
 * sockets tell better: an entry outlives its connection.
 */
static __always_inline bool translated(const struct nf_conn *conn)
{
	const struct nf_conntrack_tuple *to = &conn->tuplehash[0].tuple, *from = &conn->tuplehash[1].tuple;

	return to->dst.u.all != from->src.u.all || to->dst.u3.all[0] != from->src.u3.all[0] ||
	       to->dst.u3.all[1] != from->src.u3.all[1] || to->dst.u3.all[2] != from->src.u3.all[2] ||
	       to->dst.u3.all[3] != from->src.u3.all[3];
}

/* A connection whose ends are both there still. */
static __always_inline bool established(__u8 state)
{
	return state == CT_ESTABLISHED || state == CT_FIN_WAIT || state == CT_CLOSE_WAIT;
}

/* What connection tracking lets pass before it has seen a larger window (MAXACKWINCONST). */
#define LEAST_WINDOW 66000

/*
 * Whether a number of one end fits what was seen of it, as tcp_in_window() in
 * net/netfilter/nf_conntrack_proto_tcp.c has it. In a handshake, and after the
 * end of a connection, there is one only. An established connection of which
 * nothing was seen was picked up, or is offloaded.
 */
static __always_inline bool number_fits(const struct ip_ct_tcp_state *end, const struct ip_ct_tcp_state *other,
					__u8 state, __u32 number)
{
	__u32 window = other->td_maxwin;

	if (!established(state))
		return number == end->td_end;
	if (!window || !end->td_maxwin)
		return true;
	return between(end->td_end - (window < LEAST_WINDOW ? LEAST_WINDOW : window), number, end->td_maxend);
}

static __always_inline bool entry_fits(const struct nf_conn *conn, bool reply, const struct segment *s)
{
	const struct ip_ct_tcp *tcp = &conn->proto.tcp;

	if (reply != s->acks) /* a number of the end that was answered */
		return number_fits(&tcp->seen[1], &tcp->seen[0], tcp->state, s->number);
	return number_fits(&tcp->seen[0], &tcp->seen[1], tcp->state, s->number);
}

/* Whether connection tracking may be asked for the flows that this host has. */
static __always_inline bool tracking(void)
{
	return (flow_sources & CONNTRACK) && ct_lookup && bpf_ct_release;
}

/*
 * Whether a segment is part of a connection that is tracked here. Behind two
 * backends are two servers, either of which may have had the same SYN: what has
 * no ACK, a reset, is then the new owner's.
 */
static __always_inline bool tracking_has(frame *ctx, const struct flow *f, const struct segment *s, bool draining)
{
	struct nf_conn *conn;
	bool mine, reply;

	if (!tracking())
		return false;
	conn = tracked(ctx, f, &reply);
	if (!conn)
		return false;
	mine = entry_fits(conn, reply, s);
	if (flow_sources & SOCKETS)
		mine = mine && translated(conn) && (!draining || s->acks || established(conn->proto.tcp.state));
	bpf_ct_release(conn);
	return mine;
}

/*
 * A SYN in a bucket that this node gives away: the new owner takes it. In a
 * gateway the server's answer to it may fit an entry here too, for a SYN that
 * came before. Such an entry ends now, unless its connection is established: a
 * SYN proves nothing against that.
 */
static __always_inline void yield(frame *ctx, const struct flow *f)
{
	struct nf_conn *conn;
	bool reply;

	if ((flow_sources & SOCKETS) || !tracking() || !bpf_ct_change_timeout)
		return;
	conn = tracked(ctx, f, &reply);
	if (!conn)
		return;
	if (!established(conn->proto.tcp.state)) {
		bpf_ct_change_timeout(conn, 0);
		count(YIELDED);
	}
	bpf_ct_release(conn);
}

/* Whether a UDP flow is tracked here. */
static __always_inline bool tracking_has_udp(frame *ctx, const struct flow *f)
{
	struct nf_conn *conn;
	bool reply;

	if (!tracking())
		return false;
	conn = tracked(ctx, f, &reply);
	if (!conn)
		return false;
	bpf_ct_release(conn);
	return true;
}

#endif
