package config

import (
	"net/netip"
	"net/url"

	"github.com/shoal-net/shoal/internal/cluster"
)

// http reads a check by HTTP. Names are never looked up: the connection goes to
// the cluster address, or to the address that the URL has in place of a name.
func (b *builder) http(m map[string]value, c *cluster.Check) {
	c.Status = []cluster.Range{{First: 200, Last: 399}}
	if v := m["status"]; v.given() {
		c.Status = b.rangeList(v, rangeRule{"statuses", 100, 599, "the statuses of HTTP are 100-599"})
		if c.Status != nil && len(c.Status) == 0 {
			b.reject(v, "is empty")
		}
	}
	if text, ok := b.text(m["body"]); ok {
		c.Body = text
		if text == "" || len(text) > maxBodyText {
			b.reject(m["body"], "is too short or too long")
		}
	}
	b.truth(m["insecure"], &c.Insecure)
	text, ok := b.text(m["http"])
	if !ok {
		return
	}
	c.URL = text
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		b.reject(m["http"], "is not a URL")
		return
	}
	if u.User != nil {
		b.reject(m["http"], "has a user name: leave it out")
	}
	if v := m["insecure"]; v.given() && u.Scheme == "http" {
		b.fail(v, "insecure is for https:// URLs")
	}
	c.Target = b.urlTarget(m["http"], u)
}

// maxBodyText is how long a text may be that a body is to have: what is read of
// a body is limited.
const maxBodyText = 1024

// urlTarget finds where a URL's connection goes.
func (b *builder) urlTarget(v value, u *url.URL) netip.AddrPort {
	port := uint16(80)
	if u.Scheme == "https" {
		port = 443
	}
	if text := u.Port(); text != "" {
		port = b.port(v, text)
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		if !domainName.MatchString(u.Hostname() + ".") {
			b.reject(v, "has neither a host's name nor an address")
		}
		return b.serviceAt(port)
	}
	if why := checkService(addr); why != "" {
		b.reject(v, why)
	}
	return netip.AddrPortFrom(addr, port)
}
