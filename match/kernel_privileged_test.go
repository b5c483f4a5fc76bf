//go:build privileged

package match_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/match"
)

// TestKernelMatch compares Matches with the kernel's own xt_cluster, called
// from nftables: 32 matches at a time each set one bit of a packet's mark,
// which the receiver of the packet reads.
func TestKernelMatch(t *testing.T) {
	const batches, addresses, perPacket = 40, 64, 32
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		k := newKernel(t, family)
		rnd := rand.New(rand.NewPCG(1, uint64(family)))
		decisions, yes := 0, 0
		for range batches {
			var ms [perPacket]match.Match
			rules := make([][]expr.Any, perPacket)
			for i := range ms {
				ms[i] = randomMatch(rnd)
				rules[i] = append([]expr.Any{clusterExpr(ms[i])}, setMarkBit(i)...)
			}
			k.load(rules)
			for range addresses {
				addr := k.randomAddr(rnd)
				mark := k.mark(addr, 9)
				for i, m := range ms {
					decisions++
					kernel := mark>>i&1 != 0
					if kernel {
						yes++
					}
					if m.Matches(addr) != kernel {
						t.Fatalf("%s, %s: the kernel says %v", addr, m, kernel)
					}
				}
			}
		}
		t.Logf("%d decisions agree, %d of them matches", decisions, yes)
		if decisions < 50_000 || yes < decisions/4 || yes > decisions*3/4 {
			t.Errorf("%d of %d decisions are matches: not a fair comparison", yes, decisions)
		}
	}
}

// randomMatch returns a match as the kernel takes it.
func randomMatch(rnd *rand.Rand) match.Match {
	m := match.Match{
		TotalNodes:    1 + rnd.IntN(match.MaxNodes),
		Inverted:      rnd.IntN(2) == 0,
		Seed:          []uint32{0, 1, 0xdeadbeef, 0xffffffff, rnd.Uint32()}[rnd.IntN(5)],
		IPv6FirstWord: true,
	}
	whole := uint32(1<<m.TotalNodes - 1)
	m.NodeMask = rnd.Uint32() & whole
	if m.NodeMask == 0 || rnd.IntN(3) == 0 {
		m.NodeMask = 1 << rnd.IntN(m.TotalNodes)
	}
	return m
}

// clusterExpr is m in the form of struct xt_cluster_match_info,
// include/uapi/linux/netfilter/xt_cluster.h.
func clusterExpr(m match.Match) expr.Any {
	const flagInverted = 1 // XT_CLUSTER_F_INV
	var flags uint32
	if m.Inverted {
		flags = flagInverted
	}
	info := xt.Unknown{}
	for _, v := range []uint32{uint32(m.TotalNodes), m.NodeMask, m.Seed, flags} {
		info = binary.NativeEndian.AppendUint32(info, v)
	}
	return &expr.Match{Name: "cluster", Info: &info}
}

func setMarkBit(bit int) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(^uint32(1 << bit)),
			Xor:  binaryutil.NativeEndian.PutUint32(1 << bit),
		},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
	}
}

// TestKernelHash compares the hashes that xt_cluster does not have with the
// kernel's jhash, called from nftables on the same bytes. That is the hash of
// bytes and not of words: on little-endian hosts they are the same.
func TestKernelHash(t *testing.T) {
	if probe := binary.NativeEndian.Uint16([]byte{1, 0}); probe != 1 {
		t.Fatal("the kernel's jhash of bytes is another on big-endian hosts: run this on a little-endian one")
	}
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		k := newKernel(t, family)
		rnd := rand.New(rand.NewPCG(2, uint64(family)))
		for range 20 {
			h := match.Hash{Seed: 1 + rnd.Uint32N(0xffffffff)} // nftables takes 0 for "any"
			for what, load := range k.hashInputs() {
				k.load([][]expr.Any{append(load.exprs, hashToMark(load.length, h.Seed)...)})
				for range 32 {
					addr := k.randomAddr(rnd)
					port := uint16(1 + rnd.IntN(65535))
					hash := map[string]uint32{
						"client":  h.Client(addr),
						"network": h.Network(addr),
						"flow": h.Flow(match.Flow{
							Client: addr, ClientPort: port,
							Server: k.local, ServerPort: k.port, Protocol: unix.IPPROTO_UDP,
						}),
					}[what]
					// The kernel scales the hash to 0..2³²-2.
					want := uint32(uint64(hash) * 0xffffffff >> 32)
					if got := k.mark(addr, port); got != want {
						t.Fatalf("%s of %s port %d to %s port %d, seed %#x: %#x, the kernel says %#x",
							what, addr, port, k.local, k.port, h.Seed, want, got)
					}
				}
			}
		}
	}
}

// hashInput loads length bytes into the registers from the first on.
type hashInput struct {
	exprs  []expr.Any
	length uint32
}

const firstRegister = unix.NFT_REG32_00

func (k *kernel) hashInputs() map[string]hashInput {
	size, source, destination, mask := uint32(4), uint32(12), uint32(16), []byte{255, 255, 255, 0}
	if !k.local.Is4() {
		size, source, destination = 16, 8, 24
		mask = []byte{255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0}
	}
	client := &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: source, Len: size, DestRegister: firstRegister}
	words := size / 4
	return map[string]hashInput{
		"client": {[]expr.Any{client}, size},
		"network": {[]expr.Any{client, &expr.Bitwise{
			SourceRegister: firstRegister, DestRegister: firstRegister, Len: size, Mask: mask, Xor: make([]byte, size),
		}}, size},
		"flow": {[]expr.Any{
			client,
			&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: destination, Len: size, DestRegister: firstRegister + words},
			&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 4, DestRegister: firstRegister + 2*words},
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: firstRegister + 2*words + 1},
		}, 2*size + 8},
	}
}

func hashToMark(length, seed uint32) []expr.Any {
	const result = firstRegister + 15
	return []expr.Any{
		&expr.Hash{
			SourceRegister: firstRegister, DestRegister: result, Length: length,
			Modulus: 0xffffffff, Seed: seed, Type: expr.HashTypeJenkins,
		},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: result},
	}
}
