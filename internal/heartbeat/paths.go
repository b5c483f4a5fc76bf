package heartbeat

import (
	"errors"
	"fmt"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/transport"
	"golang.org/x/sys/unix"
)

// path is one interface that heartbeats take: one of the cluster's, or a
// dedicated one.
type path struct {
	name    string
	ifc     *cluster.Interface // nil: dedicated
	index   int                // of the interface that sender or direct is open on; 0: none is
	sender  *transport.Sender
	direct  *transport.Direct
	failed  string // why it is not open, as last told; empty: it is
	errors  uint64 // messages that could not be sent
	lastErr unix.Errno
}

func makePaths(c *cluster.Cluster) (paths []path, names []string) {
	for i := range c.Interfaces {
		paths = append(paths, path{name: c.Interfaces[i].Name, ifc: &c.Interfaces[i]})
	}
	for _, name := range c.Membership.Interfaces {
		paths = append(paths, path{name: name})
	}
	for _, p := range paths {
		names = append(names, p.name)
	}
	return paths, names
}

// open opens the path on the interface of that index, unless it is.
func (p *path) open(c *cluster.Cluster, index int) error {
	if p.index == index && index != 0 {
		return nil
	}
	p.close()
	if index == 0 {
		return fmt.Errorf("%s: no such interface", p.name)
	}
	var err error
	if p.ifc == nil {
		p.direct, err = transport.OpenDirect(p.name)
	} else {
		self, _ := c.Node(c.Self)
		p.sender, err = transport.OpenSender(*p.ifc, self.Addresses)
	}
	if err != nil {
		p.sender, p.direct = nil, nil
		return err
	}
	p.index = index
	return nil
}

func (p *path) close() {
	if p.sender != nil {
		p.sender.Close()
	}
	if p.direct != nil {
		p.direct.Close()
	}
	p.sender, p.direct, p.index = nil, nil, 0
}

func (p *path) send(payload []byte) {
	var err error
	switch {
	case p.sender != nil:
		err = p.sender.Send(payload)
	case p.direct != nil:
		err = p.direct.Send(payload)
	default:
		return
	}
	if err != nil {
		p.errors++
		_ = errors.As(err, &p.lastErr)
	}
}
