package match

import "math/bits"

// jhashInitval is JHASH_INITVAL of Linux, include/linux/jhash.h.
const jhashInitval = 0xdeadbeef

// jhash2 is Bob Jenkins' lookup3 over 32-bit words, as jhash2 of Linux,
// include/linux/jhash.h. Of one word it is the kernel's jhash_1word.
func jhash2(words []uint32, seed uint32) uint32 {
	a := jhashInitval + uint32(len(words))<<2 + seed
	b, c := a, a
	for len(words) > 3 {
		a, b, c = jhashMix(a+words[0], b+words[1], c+words[2])
		words = words[3:]
	}
	switch len(words) {
	case 3:
		c += words[2]
		fallthrough
	case 2:
		b += words[1]
		fallthrough
	case 1:
		return jhashFinal(a+words[0], b, c)
	}
	return c
}

func jhashMix(a, b, c uint32) (uint32, uint32, uint32) {
	rol := bits.RotateLeft32
	a = (a - c) ^ rol(c, 4)
	c += b
	b = (b - a) ^ rol(a, 6)
	a += c
	c = (c - b) ^ rol(b, 8)
	b += a
	a = (a - c) ^ rol(c, 16)
	c += b
	b = (b - a) ^ rol(a, 19)
	a += c
	c = (c - b) ^ rol(b, 4)
	b += a
	return a, b, c
}

func jhashFinal(a, b, c uint32) uint32 {
	rol := bits.RotateLeft32
	c = (c ^ b) - rol(b, 14)
	a = (a ^ c) - rol(c, 11)
	b = (b ^ a) - rol(a, 25)
	c = (c ^ b) - rol(b, 16)
	a = (a ^ c) - rol(c, 4)
	b = (b ^ a) - rol(a, 14)
	return (c ^ b) - rol(b, 24)
}
