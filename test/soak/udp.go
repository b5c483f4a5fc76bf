package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/shoal-net/shoal/test/handover"
)

const udpPeriod = time.Second // between two datagrams of a flow that goes on

// datagrams are clients that send them, with and without an end.
func datagrams(limits handover.UDPLimits) use {
	return func(ctx context.Context, o handoverOptions, c handover.Cluster, plan []handover.Step) ([][2]string, error) {
		load := handover.UDPLoad{Flows: o.flows, Period: udpPeriod, Queries: o.queries}
		r, err := handover.RunUDP(ctx, c, load, plan, os.Stderr)
		if r == nil {
			return nil, err
		}
		fmt.Fprint(os.Stderr, r)
		return r.Rows(), errors.Join(err, r.Check(limits))
	}
}

const datagramsText = `
## UDP

` + "`make handover HANDOVERFLAGS='-only udp'`" + ` runs these parts; a run ends with an error where something below is not
as it has to be, and its figures are not written then.

- *keep* and *move* are backends with ` + "`udp: keep` and `udp: move`" + `, each with a server
  that answers a datagram with its name and what it got. *conntrack* are gateways with
  ` + "`flows: conntrack`" + `, the firewall from above, and one such server behind them.
- Clients have the same 200 addresses. *Flows* are sockets that send a numbered datagram
  each second, each at its own time, from before the first change until after the last.
  *Queries* are sockets that send a single one, 200 a second, or as many of them as the
  machine can do. Nothing is sent again: a datagram that is lost stays so. An answer
  may come for three seconds.
- Changes are drawn as those above are. A node that keeps flows is empty three minutes
  after the last datagram of each, so only *move* has returns; with the others such a
  node is only undrained, which may change nothing.
- Each node logs what reaches its prerouting, before connection tracking. *Handled or
  answered twice*: a datagram is in these logs more than once, has two answers, or was
  handled by one node and answered by another. It must not be.
- *Went on with another node*: a flow's datagram was handled by another node than the
  one before it. With *keep* and *conntrack* this must not be; with *move* it is what is
  asked for, but only where a change was under way between the two.
- *Sent during a change*: a command was under way, or had returned less than 0.1 s ago.
  *Up to a second later*: new owners may wait still for lists of flows that are not
  theirs, so with *keep* and *conntrack* queries may be lost then, and nothing else may.
  *Else* must be 0.
- *Time without answers*: what the datagrams make up that were lost to changes, for each
  change and each client, moved or not. It may be 5 ms with *move*. With *keep* and
  *conntrack* it may be 300 ms for queries, and flows must lose nothing. Clients share
  the processors with nodes and commands, and may seldom send in the very moment in
  which a bucket has nobody: how long that is was [measured alone](benchmarks/handover.md).
- *Though a node had handled it*: such as answers that were made when the bucket had
  just gone to another node, for which the old one may not speak any more.

`
