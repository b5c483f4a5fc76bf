/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Bob Jenkins' hash as the kernel's include/linux/jhash.h has it, for keys of
 * whole 32-bit words. Addresses are hashed as xt_cluster does: the words of
 * their network-order bytes, loaded in little-endian order.
 */
#ifndef SHOAL_HASH_H
#define SHOAL_HASH_H

#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define JHASH_INITVAL 0xdeadbeef

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define word(x) (x)
#else
#define word(x) __builtin_bswap32(x)
#endif

static __always_inline __u32 rol32(__u32 x, int n)
{
	return x << n | x >> (32 - n);
}

#define jhash_mix(a, b, c)	\
	a -= c; a ^= rol32(c, 4);  c += b;	\
	b -= a; b ^= rol32(a, 6);  a += c;	\
	c -= b; c ^= rol32(b, 8);  b += a;	\
	a -= c; a ^= rol32(c, 16); c += b;	\
	b -= a; b ^= rol32(a, 19); a += c;	\
	c -= b; c ^= rol32(b, 4);  b += a;

#define jhash_final(a, b, c)	\
	c ^= b; c -= rol32(b, 14);	\
	a ^= c; a -= rol32(c, 11);	\
	b ^= a; b -= rol32(a, 25);	\
	c ^= b; c -= rol32(b, 16);	\
	a ^= c; a -= rol32(c, 4);	\
	b ^= a; b -= rol32(a, 14);	\
	c ^= b; c -= rol32(b, 24);

/* jhash2() of n words, n known at compile time. */
static __always_inline __u32 jhash(const __u32 *k, int n, __u32 seed)
{
	__u32 a, b, c;

	a = b = c = JHASH_INITVAL + (n << 2) + seed;
#pragma unroll
	while (n > 3) {
		a += word(k[0]);
		b += word(k[1]);
		c += word(k[2]);
		jhash_mix(a, b, c);
		n -= 3;
		k += 3;
	}
	if (n > 2)
		c += word(k[2]);
	if (n > 1)
		b += word(k[1]);
	a += word(k[0]);
	jhash_final(a, b, c);
	return c;
}

#endif
