package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// A Transfer is one connection at full speed, over which the bucket of its
// client is handed over again and again.
type Transfer struct {
	Rest   []Slice // of the time in which nothing moved
	Moving []Slice // from each change until it was in force everywhere
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
	movesPause = 20 // slices between two changes, and before the first: TCP finds its speed
	afterMove  = 2  // slices after a command in which the change may still be under way
)

// RunTransfer transfers over one connection, and drains and undrains the node
// that has it so many times.
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
	busy, left := false, 0 // a change is under way; slices for which it still counts
	var last *unix.TCPInfo
	for i := range (moves + 1) * movesPause {
		select {
		case <-ctx.Done():
			return t, ctx.Err()
		case <-tick.C:
		}
		now, err := tcpInfo(sender)
		if err != nil {
			return t, err
		}
		if s := slice(last, now); busy || left > 0 {
			t.Moving = append(t.Moving, s)
		} else if i >= movesPause {
			t.Rest = append(t.Rest, s)
		}
		last, left = now, max(0, left-1)
		select {
		case err := <-done:
			if err != nil {
				return t, err
			}
			busy, left = false, afterMove
		default:
		}
		if !busy && i >= movesPause && i%movesPause == 0 {
			change := Change{Kind: Kind(t.Moves % 2), Node: node, On: node} // drain, undrain, …
			t.Moves++
			busy = true
			go func() { done <- c.Change(ctx, change) }()
		}
	}
	return t, nil
}

// slice is what a sender did between two looks.
func slice(last, now *unix.TCPInfo) Slice {
	if last == nil {
		return Slice{}
	}
	return Slice{int(now.Total_retrans - last.Total_retrans), int64(now.Bytes_acked - last.Bytes_acked)}
}

// Pace is how a sender did over slices.
type Pace struct {
	Gbps     float64 // that were acknowledged
	Repeated float64 // segments that were sent again in a second
	Worst    int     // of them in one slice
}

// PaceOf sums slices up.
func PaceOf(all []Slice) (p Pace) {
	seconds := float64(len(all)) * sliceTime.Seconds()
	for _, s := range all {
		p.Gbps += float64(s.Bytes) * 8 / 1e9 / seconds
		p.Repeated += float64(s.Repeated) / seconds
		p.Worst = max(p.Worst, s.Repeated)
	}
	return p
}
