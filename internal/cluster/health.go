package cluster

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Health is how a node tells whether its own service can serve. It means
// something where Cluster.HasMembership is true. Each node may have checks of
// its own; what happens to all is the same on all.
type Health struct {
	Checks       []Check // none: the node is always healthy
	AllUnhealthy AllUnhealthy
}

// Check asks the node's own service whether it can serve.
type Check struct {
	Kind     CheckKind
	Target   netip.AddrPort // tcp, http: where it connects to; dns: whom it asks
	URL      string         // http: http:// or https://, its host is what is asked for
	Status   []Range        // http: what passes
	Body     string         // http: a text that the body has; empty: any body
	Insecure bool           // http: the certificate is not verified
	Name     string         // dns: what is asked for, fully qualified: with the dot at its end
	Type     DNSType        // dns
	Command  []string       // exec: an absolute path and arguments

	Interval time.Duration // from the beginning of one to that of the next, MinCheckInterval..MaxCheckInterval
	Timeout  time.Duration // MinCheckTimeout..MaxCheckTimeout
	Rise     int           // successes in a row that make it pass, 1..MaxCheckCount
	Fall     int           // failures in a row that make it fail, 1..MaxCheckCount
	// Weight limits the node's weight while the check fails, 1..MaxWeight.
	// 0: the node is unhealthy then, and leaves its buckets to others.
	Weight int
}

// Equal reports whether two checks are the same.
func (c Check) Equal(o Check) bool {
	return slices.Equal(c.Status, o.Status) && slices.Equal(c.Command, o.Command) &&
		c.Kind == o.Kind && c.Target == o.Target && c.URL == o.URL && c.Body == o.Body && c.Insecure == o.Insecure &&
		c.Name == o.Name && c.Type == o.Type &&
		c.Interval == o.Interval && c.Timeout == o.Timeout && c.Rise == o.Rise && c.Fall == o.Fall && c.Weight == o.Weight
}

// String says what is asked, for logs.
func (c Check) String() string {
	switch c.Kind {
	case CheckHTTP:
		return c.URL
	case CheckDNS:
		return fmt.Sprintf("dns %s %s at %s", c.Name, c.Type, c.Target)
	case CheckExec:
		return "exec " + strings.Join(c.Command, " ")
	default:
		return fmt.Sprintf("%s %s", c.Kind, c.Target)
	}
}
