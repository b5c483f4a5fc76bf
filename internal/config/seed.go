package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/match"
)

// FromMatch describes a cluster without a file, from the options of the
// iptables match: as many buckets as nodes, client affinity. Each interface is
// NAME[,KEY=VALUE…] with the keys mac, l2, address and side; mark is a mark as
// the file has it, or empty. With a server side the cluster is a gateway that
// hashes what the kernel's match does: the source of the connection's original
// direction.
func FromMatch(m match.Match, interfaces []string, mark string) (*cluster.Cluster, error) {
	c := &cluster.Cluster{
		Hash:  cluster.Hash{Seed: m.Seed, Buckets: m.TotalNodes, IPv6FirstWord: m.IPv6FirstWord},
		Lease: cluster.DefaultLease,
	}
	c.Nodes, c.Self = nodesOf(m)
	if len(interfaces) == 0 || len(interfaces) > cluster.MaxInterfaces {
		return nil, fmt.Errorf("-i: give 1 to %d interfaces", cluster.MaxInterfaces)
	}
	seen := make(map[string]bool)
	for _, text := range interfaces {
		ifc, err := parseInterface(text)
		if err != nil {
			return nil, fmt.Errorf("-i %s: %w", text, err)
		}
		if seen[ifc.Name] {
			return nil, fmt.Errorf("-i %s: %s is given twice", text, ifc.Name)
		}
		seen[ifc.Name] = true
		if ifc.Side == cluster.ServerSide {
			c.Mode, c.Hash.Key = cluster.Gateway, cluster.KeyOriginal
		}
		c.Interfaces = append(c.Interfaces, ifc)
	}
	if err := checkInterfaces(c); err != nil {
		return nil, err
	}
	if mark != "" {
		parsed, err := parseMark(mark)
		if err != nil {
			return nil, fmt.Errorf("--mark %s: is not a mark; takes VALUE or VALUE/MASK, such as 0xffff", mark)
		}
		c.Action = cluster.Action{Marking: true, Mark: parsed}
	}
	c.Name = "match-" + plainName(c.Interfaces[0].Name)
	return c, nil
}

// nodesOf gives this node the buckets that the match accepts, and every other
// bucket to the node whose number it is.
func nodesOf(m match.Match) (nodes []cluster.Node, self int) {
	mine := cluster.Node{ID: m.TotalNodes + 1, Buckets: []cluster.Range{}}
	for i := range m.TotalNodes {
		if accepts := m.NodeMask>>i&1 == 1; accepts != m.Inverted {
			if len(mine.Buckets) == 0 {
				mine.ID = i + 1
			}
			mine.Buckets = append(mine.Buckets, cluster.Range{First: i, Last: i})
			continue
		}
		nodes = append(nodes, cluster.Node{
			ID: i + 1, Name: fmt.Sprintf("node%d", i+1), Buckets: []cluster.Range{{First: i, Last: i}},
		})
	}
	mine.Name = fmt.Sprintf("node%d", mine.ID)
	nodes = append(nodes, mine)
	slices.SortFunc(nodes, func(a, b cluster.Node) int { return a.ID - b.ID })
	return nodes, mine.ID
}

// checkInterfaces checks what no single interface shows.
func checkInterfaces(c *cluster.Cluster) error {
	holder := make(map[netip.Addr]string)
	var sides [2]bool
	for _, ifc := range c.Interfaces {
		sides[ifc.Side] = true
		for _, addr := range ifc.Addresses {
			if other, twice := holder[addr]; twice && (other == ifc.Name || !addr.IsLinkLocalUnicast()) {
				return fmt.Errorf("-i %s: address %s is given twice, first for %s", ifc.Name, addr, other)
			}
			holder[addr] = ifc.Name
		}
	}
	if c.Mode == cluster.Gateway && !sides[cluster.ClientSide] {
		return errors.New("-i: a gateway needs an interface on the client side, too: leave out side=server for it")
	}
	return nil
}

func parseInterface(text string) (cluster.Interface, error) {
	parts := strings.Split(text, ",")
	ifc := cluster.Interface{Name: parts[0]}
	if !validInterfaceName(ifc.Name) {
		return ifc, fmt.Errorf("%q cannot be an interface's name", ifc.Name)
	}
	given := make(map[string]bool)
	for _, part := range parts[1:] {
		key, value, _ := strings.Cut(part, "=")
		if given[key] && key != "address" {
			return ifc, fmt.Errorf("%s= is given twice", key)
		}
		given[key] = true
		var err error
		switch key {
		case "mac":
			ifc.MAC, err = cluster.ParseMAC(value)
		case "l2":
			err = ifc.L2.UnmarshalText([]byte(value))
		case "side":
			err = ifc.Side.UnmarshalText([]byte(value))
		case "address":
			addr, why := parseAddress(value)
			if why != "" {
				err = fmt.Errorf("%q %s", value, why)
			}
			ifc.Addresses = append(ifc.Addresses, addr)
		default:
			err = fmt.Errorf("%q is none of mac, l2, address, side", key)
		}
		if err != nil {
			return ifc, err
		}
	}
	return ifc, completeMAC(&ifc, given["l2"])
}

// completeMAC finds the MAC from the address, or the mode from the MAC.
func completeMAC(ifc *cluster.Interface, l2Given bool) error {
	switch {
	case ifc.MAC == cluster.MAC{} && len(ifc.Addresses) == 0:
		return errors.New("give mac= or address=: what is the shared MAC?")
	case ifc.MAC == cluster.MAC{}:
		ifc.MAC = cluster.DefaultMAC(ifc.L2, firstForMAC(ifc.Addresses))
	case !l2Given && ifc.MAC[0]&1 != 0:
		ifc.L2 = cluster.Multicast
	}
	return cluster.CheckMAC(ifc.L2, ifc.MAC)
}

// plainName makes an interface's name one that a cluster may have.
func plainName(ifname string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '-'
	}, strings.ToLower(ifname))
}
