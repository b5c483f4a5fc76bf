package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// A Transfer is one connection at full speed, over which the bucket of its
// client is handed over again and again.
type Transfer struct {
	Rest   []Slice // of the time in which nothing was done
	Moving []Slice // from each order until it was in force everywhere
	Idle   []Slice // likewise of orders that change nothing: what a command costs by itself
	Moves  int     // hand-overs
}

// A Slice is a short time of a transfer.
type Slice struct {
	Repeated int   // segments that the sender sent again
	Bytes    int64 // that were acknowledged
}

// How a transfer is looked at.
const (
	bulkPort   = 9100
	sliceTime  = 50 * time.Millisecond
	movesPause = 10 // slices between two orders, and before the first: TCP finds its speed
	afterMove  = 2  // slices after a command in which what it asks for may still be under way
)

// RunTransfer transfers over one connection, and drains and undrains the node
// that has it so many times, each time by two orders, of which the second one
// changes nothing.
func RunTransfer(ctx context.Context, c Cluster, upload bool, moves int) (t *Transfer, err error) {
	l := c.Lab()
	client, target := l.ClientAddresses()[0], l.Targets()[0]
	accepted := make(chan accept, len(l.Nodes))
	for _, n := range l.Nodes {
		listener, err := n.NS.Listen("tcp", fmt.Sprintf(":%d", bulkPort))
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		go func() {
			if conn, err := listener.Accept(); err == nil {
				accepted <- accept{conn, n.ID}
			}
		}()
	}
	near, err := l.Clients.Dial(ctx, "tcp", netip.AddrPortFrom(client, 0), netip.AddrPortFrom(target, bulkPort))
	if err != nil {
		return nil, err
	}
	far := <-accepted
	from, to := far.Conn, near
	if upload {
		from, to = near, far.Conn
	}
	ended := make(chan error, 2)
	go func() { ended <- send(from) }()
	go func() { _, err := io.Copy(io.Discard, to); ended <- err }()
	t, err = watchTransfer(ctx, c, from, far.node, moves)
	if err == nil && len(ended) > 0 {
		err = fmt.Errorf("the transfer ended: %w", <-ended)
	}
	return t, errors.Join(err, near.Close(), far.Close())
}

// accept is a connection and the node that has it.
type accept struct {
	net.Conn
	node int
}

// send sends until that fails.
func send(c net.Conn) error {
	b := make([]byte, 256<<10)
	for {
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
}

// watchTransfer looks at a sender again and again, while its node is drained and
// undrained in turn.
func watchTransfer(ctx context.Context, c Cluster, sender net.Conn, node, moves int) (*Transfer, error) {
	t := &Transfer{}
	tick := time.NewTicker(sliceTime)
	defer tick.Stop()
	done := make(chan error, 1)
	busy, left := false, 0 // an order is under way; slices for which it still counts
	orders := 0
	last, err := tcpInfo(sender)
	for i := 0; err == nil && i < (2*moves+1)*movesPause; i++ {
		select {
		case <-ctx.Done():
			return t, ctx.Err()
		case <-tick.C:
		}
		now, failed := tcpInfo(sender)
		if failed != nil {
			return t, failed
		}
		into := &t.Rest
		switch {
		case busy || left > 0:
			into = [...]*[]Slice{&t.Idle, &t.Moving}[orders%2]
		case i < movesPause:
			into = new([]Slice)
		}
		*into = append(*into, Slice{int(now.Total_retrans - last.Total_retrans), int64(now.Bytes_acked - last.Bytes_acked)})
		last, left = now, max(0, left-1)
		select {
		case err = <-done:
			busy, left = false, afterMove
		default:
		}
		if !busy && i >= movesPause && i%movesPause == 0 {
			change := Change{Kind: Kind(orders / 2 % 2), Node: node, On: node} // drain, drain, undrain, undrain, …
			orders++
			busy = true
			go func() { done <- c.Change(ctx, change) }()
		}
	}
	t.Moves = (orders + 1) / 2
	return t, err
}

// Pace is how a sender did over slices.
type Pace struct {
	Gbps     float64 // that were acknowledged
	Repeated float64 // segments that were sent again in a second
	Touched  float64 // share of the slices in which some were
	Worst    int     // of them in one slice
}

// PaceOf sums slices up.
func PaceOf(all []Slice) (p Pace) {
	seconds := float64(len(all)) * sliceTime.Seconds()
	for _, s := range all {
		p.Gbps += float64(s.Bytes) * 8 / 1e9 / seconds
		p.Repeated += float64(s.Repeated) / seconds
		p.Worst = max(p.Worst, s.Repeated)
		if s.Repeated > 0 {
			p.Touched += 1 / float64(len(all))
		}
	}
	return p
}
