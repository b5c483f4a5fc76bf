package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A cut drops frames on their way through the switch, for each receiver of a
// flooded frame by itself.
type cut struct {
	from, to []string // ports; nil: any
	percent  float64  // of the frames, 0..100
}

// portsOf are the switch's ports of some nodes.
func (p plan) portsOf(nodes []int, s Sides) []string {
	var all []string
	for _, c := range p.cablesOf(nodes, s) {
		all = append(all, c.a.link)
	}
	return all
}

// cuts says what a fault drops.
func (p plan) cuts(f Fault) []cut {
	switch f.Kind {
	case Mute:
		return []cut{{from: p.portsOf(f.Nodes, f.Sides), percent: 100}}
	case Deaf:
		return []cut{{to: p.portsOf(f.Nodes, f.Sides), percent: 100}}
	case Loss:
		return []cut{{percent: f.Percent}}
	case Partition:
		return p.partition(f)
	}
	return nil
}

func (p plan) partition(f Fault) []cut {
	groups := make([][]string, len(f.Groups))
	for i, nodes := range f.Groups {
		groups[i] = p.portsOf(nodes, 0)
	}
	if f.Clients > 0 {
		groups[f.Clients-1] = append(groups[f.Clients-1], p.leafPorts()...)
	}
	var all []cut
	for i, from := range groups {
		for j, to := range groups {
			if i != j {
				all = append(all, cut{from, to, 100})
			}
		}
	}
	return all
}

// leafPorts are the switch's ports that lead to no node.
func (p plan) leafPorts() []string {
	var all []string
	for _, c := range p.cables() {
		if c.bridge != "" && c.b.link == leafEth {
			all = append(all, c.a.link)
		}
	}
	return all
}

// cut starts dropping. Each call has a table of its own, which healing deletes.
func (ns *Namespace) cut(cuts []cut) (Heal, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(int(ns.handle)))
	if err != nil {
		return nil, fmt.Errorf("open nftables in %s: %w", ns.Name, err)
	}
	table := conn.AddTable(&nftables.Table{Name: fmt.Sprintf("fault%d", ns.tables.Add(1)), Family: nftables.TableFamilyBridge})
	chain := conn.AddChain(&nftables.Chain{Name: "forward", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter})
	for _, c := range cuts {
		var match []expr.Any
		for _, end := range []struct {
			ports []string
			key   expr.MetaKey
		}{{c.from, expr.MetaKeyIIFNAME}, {c.to, expr.MetaKeyOIFNAME}} {
			if end.ports == nil {
				continue
			}
			set := &nftables.Set{Table: table, Anonymous: true, Constant: true, KeyType: nftables.TypeIFName}
			if err := conn.AddSet(set, interfaceNames(end.ports)); err != nil {
				return nil, fmt.Errorf("list ports: %w", err)
			}
			match = append(match, &expr.Meta{Key: end.key, Register: 1},
				&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID})
		}
		match = append(match, chance(c.percent)...)
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(match, &expr.Verdict{Kind: expr.VerdictDrop})})
	}
	if err := conn.Flush(); err != nil {
		return nil, fmt.Errorf("add a table to %s: %w", ns.Name, err)
	}
	return func(context.Context) error {
		conn.DelTable(table)
		if err := conn.Flush(); err != nil {
			return fmt.Errorf("delete a table of %s: %w", ns.Name, err)
		}
		return nil
	}, nil
}

// chance matches a share of all frames. The kernel draws a number below the
// modulus in its own byte order, and compares in the network's.
func chance(percent float64) []expr.Any {
	if percent >= 100 {
		return nil
	}
	const modulus = 1_000_000
	limit := uint32(math.Round(percent / 100 * modulus))
	return []expr.Any{
		&expr.Numgen{Register: 1, Type: unix.NFT_NG_RANDOM, Modulus: modulus},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Register: 1, Op: expr.CmpOpLt, Data: binary.BigEndian.AppendUint32(nil, limit)},
	}
}

// interfaceNames are the elements of a set of names, padded as the kernel's.
func interfaceNames(names []string) []nftables.SetElement {
	all := make([]nftables.SetElement, len(names))
	for i, name := range names {
		all[i].Key = append([]byte(name), make([]byte, unix.IFNAMSIZ-len(name))...)
	}
	return all
}
