//go:build privileged

package e2e

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/shoal-net/shoal/internal/lab"
)

// serveTCP listens in a namespace until the test ends. Each connection is
// answered by a function, and closed behind it.
func serveTCP(t *testing.T, ns *lab.Namespace, address string, answer func(net.Conn)) {
	t.Helper()
	l, err := ns.Listen("tcp", address)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue // the connection is gone, not the listener
			}
			go func() {
				defer c.Close()
				answer(c)
			}()
		}
	}()
}

// dialUntil connects as Dial does. What is done with the connection has until
// the deadline of ctx, too.
func dialUntil(ctx context.Context, ns *lab.Namespace, network string, local, remote netip.AddrPort) (net.Conn, error) {
	c, err := ns.Dial(ctx, network, local, remote)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}
