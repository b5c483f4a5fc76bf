package heartbeat

import (
	"bytes"
	"fmt"
	"time"

	"github.com/shoal-net/shoal/internal/member"
	"github.com/shoal-net/shoal/internal/wire"
)

// FlowChunk is a part of the list of UDP flows that a node keeps.
type FlowChunk struct {
	From member.NodeID
	member.FlowChunk
}

// inbox is what listen passes on about UDP flows. It never waits for whoever is
// to take it.
type inbox struct {
	acquired chan *Acquired
	fetches  chan member.FlowFetch
	chunks   chan FlowChunk
	decoded  wire.Decoded
}

func newInbox() *inbox {
	// Chunks come in bursts of 16, and from several nodes.
	return &inbox{acquired: make(chan *Acquired, 1), fetches: make(chan member.FlowFetch, member.MaxNodes), chunks: make(chan FlowChunk, 256)}
}

func (i *inbox) takeAcquired(a *Acquired) {
	select {
	case <-i.acquired:
	default:
	}
	i.acquired <- a
}

func (i *inbox) takePassed(b []byte) {
	if err := wire.DecodePassed(b, &i.decoded); err != nil {
		return
	}
	m := &i.decoded.Message
	switch body := m.Body.(type) {
	case *member.FlowFetch:
		select {
		case i.fetches <- *body:
		default:
		}
	case *member.FlowChunk:
		c := FlowChunk{m.From, *body}
		c.Data = bytes.Clone(c.Data)
		select {
		case i.chunks <- c:
		default:
		}
	}
}

// Pass says something to other nodes: a *member.FlowFetch or *member.FlowChunk.
func (p *Process) Pass(body member.Body) error {
	_ = p.conn.SetWriteDeadline(time.Now().Add(askTimeout))
	if _, err := p.conn.Write(wire.AppendPassed(nil, 0, body)); err != nil {
		return fmt.Errorf("speak to the heartbeat process: %w", err)
	}
	return nil
}

// Frozen says that the UDP flows that a node keeps are known here, in a view.
func (p *Process) Frozen(from member.NodeID, view member.ViewID) error {
	return p.tell(command{Frozen: &frozen{view, from}})
}
