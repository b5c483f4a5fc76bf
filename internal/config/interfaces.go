package config

import (
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/shoal-net/shoal/internal/cluster"
)

func (b *builder) interfaces(v value, modeKnown bool) {
	list := b.list(v, mapOf(interfaceKeys), 1, cluster.MaxInterfaces)
	before := len(b.errs)
	names := map[string]value{}
	addresses := 0
	for _, element := range list {
		ifc := b.iface(element, modeKnown, names)
		addresses += len(ifc.Addresses)
		b.c.Interfaces = append(b.c.Interfaces, ifc)
	}
	if addresses > cluster.MaxAddresses {
		b.fail(v, "%d cluster addresses; a cluster has at most %d", addresses, cluster.MaxAddresses)
	}
	if modeKnown && b.c.Mode == cluster.Gateway && len(list) > 0 && len(b.errs) == before {
		for _, side := range []cluster.Side{cluster.ClientSide, cluster.ServerSide} {
			onSide := func(ifc cluster.Interface) bool { return ifc.Side == side }
			if !slices.ContainsFunc(b.c.Interfaces, onSide) {
				b.fail(v, "no interface has side: %s; mode: gateway takes at least one on each side", side)
			}
		}
	}
}

func (b *builder) iface(v value, modeKnown bool, names map[string]value) (ifc cluster.Interface) {
	m := b.mapping(v, interfaceKeys)
	if name, ok := b.text(m["name"]); ok {
		ifc.Name = name
		if !validInterfaceName(name) {
			b.reject(m["name"], "cannot be an interface's name")
		}
		b.unique(names, name, m["name"])
	}
	b.side(v, m["side"], modeKnown, &ifc.Side)
	ifc.Addresses = b.addresses(m["addresses"], ifc.Name, 1, cluster.MaxAddresses)
	l2Known := b.word(m["l2"], &ifc.L2)
	b.mac(m["mac"], l2Known, &ifc)
	if b.word(m["attach"], &ifc.Attach) && b.c.Action.Marking &&
		(ifc.Attach == cluster.AttachNative || ifc.Attach == cluster.AttachGeneric) {
		b.fail(m["attach"], "%q cannot mark packets; action: mark takes attach: auto or tcx", ifc.Attach)
	}
	return ifc
}

func (b *builder) side(ifc, v value, modeKnown bool, side *cluster.Side) {
	if !b.word(v, side) || !modeKnown {
		return
	}
	switch gateway := b.c.Mode == cluster.Gateway; {
	case gateway && !v.given():
		b.fail(ifc, "side is missing; mode: gateway takes client or server on every interface")
	case !gateway && *side == cluster.ServerSide:
		b.fail(v, `"server" is for mode: gateway; in mode: backend every interface is on the client side`)
	}
}

func (b *builder) mac(v value, l2Known bool, ifc *cluster.Interface) {
	text, ok := b.text(v)
	if !ok {
		if len(ifc.Addresses) > 0 {
			ifc.MAC = cluster.DefaultMAC(ifc.L2, firstForMAC(ifc.Addresses))
		}
		return
	}
	mac, err := cluster.ParseMAC(text)
	if err == nil && l2Known {
		err = cluster.CheckMAC(ifc.L2, mac)
	}
	if err != nil {
		b.fail(v, "%v", err)
	}
	ifc.MAC = mac
}

// firstForMAC returns the address that the default MAC is made of: the first
// IPv4 one, or the first.
func firstForMAC(addresses []netip.Addr) netip.Addr {
	for _, a := range addresses {
		if a.Is4() {
			return a
		}
	}
	return addresses[0]
}

// validInterfaceName follows dev_valid_name in the kernel's net/core/dev.c.
func validInterfaceName(s string) bool {
	return s != "" && len(s) <= 15 && s != "." && s != ".." &&
		!strings.ContainsFunc(s, func(c rune) bool { return c == '/' || c == ':' || unicode.IsSpace(c) || c < ' ' })
}
