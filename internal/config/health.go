package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/shoal-net/shoal/internal/cluster"
)

// health reads the checks of the node's own service.
func (b *builder) health(checks, allUnhealthy value) {
	b.word(allUnhealthy, &b.c.Health.AllUnhealthy)
	for _, element := range b.list(checks, mapOf(checkKeys), 0, cluster.MaxChecks) {
		if m := b.mapping(element, checkKeys); m != nil {
			b.c.Health.Checks = append(b.c.Health.Checks, b.check(element, m))
		}
	}
}

// kindKeys are the keys that say what is asked: a check has one of them.
var kindKeys = []cluster.CheckKind{cluster.CheckTCP, cluster.CheckHTTP, cluster.CheckDNS, cluster.CheckExec}

// kindOptions are keys that only one kind of checks takes.
var kindOptions = map[string]cluster.CheckKind{
	"status": cluster.CheckHTTP, "body": cluster.CheckHTTP, "insecure": cluster.CheckHTTP,
	"type": cluster.CheckDNS, "server": cluster.CheckDNS,
}

func (b *builder) check(at value, m map[string]value) cluster.Check {
	c := cluster.Check{
		Interval: cluster.DefaultCheckInterval, Timeout: cluster.DefaultCheckTimeout,
		Rise: cluster.DefaultRise, Fall: cluster.DefaultFall,
	}
	if b.kind(at, m, &c) {
		switch c.Kind {
		case cluster.CheckTCP:
			c.Target = b.target(m["tcp"], 0)
		case cluster.CheckHTTP:
			b.http(m, &c)
		case cluster.CheckDNS:
			c.Name = b.domain(m["dns"])
			b.word(m["type"], &c.Type)
			c.Target = b.target(m["server"], 53)
		case cluster.CheckExec:
			c.Command = b.command(m["exec"])
		}
	}
	b.duration(m["interval"], cluster.MinCheckInterval, cluster.MaxCheckInterval, &c.Interval)
	b.duration(m["timeout"], cluster.MinCheckTimeout, cluster.MaxCheckTimeout, &c.Timeout)
	number(b.reader, m["rise"], 1, cluster.MaxCheckCount, &c.Rise)
	number(b.reader, m["fall"], 1, cluster.MaxCheckCount, &c.Fall)
	b.onFailure(m["on-failure"], &c.Weight)
	return c
}

// kind finds out what a check asks; it is false where that is not clear.
func (b *builder) kind(at value, m map[string]value, c *cluster.Check) bool {
	var asked value
	for _, kind := range kindKeys {
		v := m[kind.String()]
		switch {
		case !v.given():
		case asked.given():
			b.fail(v, "%s beside %s; a check asks one thing: make it two checks", v.path, asked.path)
			return false
		default:
			asked, c.Kind = v, kind
		}
	}
	if !asked.given() {
		b.fail(at, "what to ask is missing; a check takes one of tcp, http, dns, exec")
		return false
	}
	for option, kind := range kindOptions {
		if v := m[option]; v.given() && kind != c.Kind {
			b.fail(v, "%s is for %s checks", option, kind)
		}
	}
	return true
}

// target reads a port of the first cluster address, or ADDRESS:PORT. Where the
// key is not there it is the given port.
func (b *builder) target(v value, port uint16) netip.AddrPort {
	if !v.given() {
		return b.serviceAt(port)
	}
	text, ok := v.scalar()
	if !ok {
		b.reject(v, kind(v.node))
		return netip.AddrPort{}
	}
	if digits.MatchString(text) {
		return b.serviceAt(b.port(v, text))
	}
	target, err := netip.ParseAddrPort(text)
	if err != nil {
		b.reject(v, "is no port and no ADDRESS:PORT")
		return netip.AddrPort{}
	}
	if why := checkService(target.Addr()); why != "" {
		b.reject(v, why)
	}
	if target.Port() == 0 {
		b.reject(v, "has no port")
	}
	return target
}

// serviceAt is a port of the first cluster address.
func (b *builder) serviceAt(port uint16) netip.AddrPort {
	if len(b.c.Interfaces) == 0 || len(b.c.Interfaces[0].Addresses) == 0 {
		return netip.AddrPort{} // reported already
	}
	first := b.c.Interfaces[0]
	addr := first.Addresses[0]
	if addr.Is6() && addr.IsLinkLocalUnicast() {
		addr = addr.WithZone(first.Name)
	}
	return netip.AddrPortFrom(addr, port)
}

func (b *builder) port(v value, text string) uint16 {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 || text[0] == '0' {
		b.reject(v, "is not a port")
		return 0
	}
	return uint16(port)
}

// checkService says why no service can be asked at an address. Unlike a
// cluster's, it may be a loopback address.
func checkService(addr netip.Addr) string {
	linkLocal := addr.Is6() && addr.IsLinkLocalUnicast()
	switch {
	case linkLocal && addr.Zone() == "":
		return fmt.Sprintf("is a link-local address: name its interface, as in %s%%eth1", addr)
	case linkLocal || addr.IsLoopback() && addr.Zone() == "":
		return ""
	}
	_, why := parseAddress(addr.String())
	return why
}

// domainName follows RFC 1035, 2.3.4, and takes underscores, as names of
// services have.
var domainName = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)+$|^\.$`)

func (b *builder) domain(v value) string {
	text, ok := b.text(v)
	if !ok {
		return ""
	}
	name := strings.TrimSuffix(text, ".") + "."
	if len(name) > 254 || !domainName.MatchString(name) {
		b.reject(v, "is not a domain name")
	}
	return name
}

func (b *builder) command(v value) []string {
	var words []string
	for i, element := range b.list(v, "text", 1, 256) {
		word, ok := b.text(element)
		switch {
		case !ok:
		case strings.ContainsRune(word, 0):
			b.reject(element, "has a zero byte")
		case i == 0 && !filepath.IsAbs(word):
			b.fail(element, "%q is not an absolute path: the agent looks nowhere for programs", word)
		}
		words = append(words, word)
	}
	return words
}

func (b *builder) onFailure(v value, weight *int) {
	if text, ok := v.scalar(); ok && text == "leave" || !v.given() {
		return
	} else if ok {
		b.reject(v, "is nothing to do")
		return
	}
	if m := b.mapping(v, onFailureKeys); m != nil {
		number(b.reader, m["weight"], 1, cluster.MaxWeight, weight)
	}
}
