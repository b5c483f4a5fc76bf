package health

import (
	"context"
	"net"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
)

// tcpProbe asks whether the service takes a connection.
func tcpProbe(c cluster.Check) probe {
	return func(ctx context.Context) error {
		conn, err := dial(ctx, "tcp", c)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// dial connects to a check's target. To an address of this host that goes
// through the loopback interface, and never over the link. When ctx ends,
// whatever waits for the connection gets a timeout.
func dial(ctx context.Context, network string, c cluster.Check) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, c.Target.String())
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(1, 0)) // it may be closed
	})
	return conn, nil
}
