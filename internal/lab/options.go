package lab

import (
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/shoal-net/shoal/internal/cluster"
)

// Limits of a lab.
const (
	// MaxClients keeps the nodes' neighbour entries under the 1,024 that the
	// kernel's tables hold over all namespaces (gc_thresh3, Linux
	// net/ipv4/arp.c, net/ipv6/ndisc.c).
	MaxClients = 900
	minMTU     = 1280 // of IPv6, RFC 8200 section 5
	maxMTU     = 65535
)

// Families is a set of address families; the zero value is both.
type Families uint8

// The address families.
const (
	IPv4 Families = 1 << iota
	IPv6
)

func (f Families) has(one Families) bool { return f == 0 || f&one != 0 }

// Options describes a lab. The zero value is a backend cluster of three nodes
// with 200 clients over IPv4 and IPv6.
type Options struct {
	Name    string // of the lab, 1 to 32 of a-z, 0-9 and -; "lab" if empty
	Nodes   int    // 1..cluster.MaxNodes; 3 if zero
	Mode    cluster.Mode
	Clients int // client addresses of each family, 1..MaxClients; 200 if zero
	L2      cluster.L2
	Attach  cluster.Attach

	Families Families
	MTU      int // of all links, in bytes; 1500 if zero
	// RouterMTU, if not zero, puts a router in front of the server (gateway)
	// or of the clients (backend), and behind it a link of this MTU in bytes:
	// what sends the errors of path-MTU discovery to the cluster.
	RouterMTU int
	// Snooping makes the switches forward multicast by group, with an IGMP and
	// MLD querier of their own. Without it they flood.
	Snooping bool

	// Static leaves the nodes' own addresses out of the files: they do not know
	// each other, and their shares are fixed.
	Static bool

	// NodeConfig, if not nil, gets the id and configuration file of each node
	// and returns the file that is used. The cluster's name must stay.
	NodeConfig func(node int, file string) string
	NoAgents   bool      // bare nodes: forwarding and services, but no shoal
	NoServices bool      // nothing listens on the nodes and the server
	Binary     string    // path of shoal; the running program if empty
	Log        io.Writer // the agents' logs, with the node's name before each line; nil: dropped
}

var nameForm = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// Validate says what is wrong with the options.
func (o Options) Validate() error {
	_, err := o.withDefaults()
	return err
}

// withDefaults checks the options and fills in what is not given.
func (o Options) withDefaults() (Options, error) {
	setDefault(&o.Name, "lab")
	setDefault(&o.Nodes, 3)
	setDefault(&o.Clients, 200)
	setDefault(&o.MTU, 1500)
	if o.Families == 0 {
		o.Families = IPv4 | IPv6
	}
	if o.Binary == "" && !o.NoAgents {
		self, err := os.Executable()
		if err != nil {
			return o, fmt.Errorf("find the running program: %w", err)
		}
		o.Binary = self
	}
	return o, o.check()
}

func (o Options) check() error {
	switch {
	case !nameForm.MatchString(o.Name):
		return fmt.Errorf("lab name %q is not 1 to 32 of a-z, 0-9 and -", o.Name)
	case o.Nodes < 1 || o.Nodes > cluster.MaxNodes:
		return fmt.Errorf("%d nodes: 1 to %d are allowed", o.Nodes, cluster.MaxNodes)
	case o.Clients < 1 || o.Clients > MaxClients:
		return fmt.Errorf("%d clients: 1 to %d are allowed", o.Clients, MaxClients)
	case o.MTU < minMTU || o.MTU > maxMTU:
		return fmt.Errorf("MTU %d: %d to %d are allowed", o.MTU, minMTU, maxMTU)
	case o.RouterMTU != 0 && (o.RouterMTU < minMTU || o.RouterMTU > o.MTU):
		return fmt.Errorf("MTU %d behind the router: %d to %d are allowed", o.RouterMTU, minMTU, o.MTU)
	}
	return nil
}

func setDefault[T comparable](dst *T, value T) {
	var zero T
	if *dst == zero {
		*dst = value
	}
}
