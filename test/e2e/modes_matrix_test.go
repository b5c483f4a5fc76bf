//go:build privileged

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
	"github.com/shoal-net/shoal/internal/lab"
)

// timeout is a context that ends by itself.
func timeout(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	time.AfterFunc(2*d, cancel) // frees it; it has ended by then
	return ctx
}

// fragmented is a size that takes three packets at the usual MTU.
const fragmented = 4000

// Every way to attach and every way to reach all nodes carries all traffic,
// and one node handles each client.
func TestModesBackend(t *testing.T) {
	for _, attach := range []cluster.Attach{cluster.AttachNative, cluster.AttachGeneric, cluster.AttachTCX} {
		for _, l2 := range []cluster.L2{cluster.Unicast, cluster.Multicast, cluster.IGMP} {
			t.Run(fmt.Sprintf("%s/%s", attach, l2), func(t *testing.T) {
				checkMode(t, lab.Options{Nodes: 2, Clients: 8, Attach: attach, L2: l2}, attach)
			})
		}
	}
}

func TestModesGateway(t *testing.T) {
	for _, mode := range []struct {
		attach cluster.Attach
		l2     cluster.L2
	}{
		{cluster.AttachNative, cluster.Unicast},
		{cluster.AttachGeneric, cluster.IGMP},
		{cluster.AttachTCX, cluster.Multicast},
		{cluster.AttachNative, cluster.Multicast},
	} {
		t.Run(fmt.Sprintf("%s/%s", mode.attach, mode.l2), func(t *testing.T) {
			checkMode(t, lab.Options{Mode: cluster.Gateway, Nodes: 2, Clients: 8, Attach: mode.attach, L2: mode.l2}, mode.attach)
		})
	}
}

func TestModesAutoIsTCXOnVeth(t *testing.T) {
	checkMode(t, lab.Options{Nodes: 2, Clients: 8}, cluster.AttachTCX)
}

func TestModesNativeJumboFrames(t *testing.T) {
	o := lab.Options{Nodes: 2, Clients: 8, Attach: cluster.AttachNative, MTU: 9000}
	l := checkMode(t, o, cluster.AttachNative)
	checkDatagrams(t, l, 8900) // one packet
	checkDatagrams(t, l, 20000)
}

func checkMode(t *testing.T, o lab.Options, attached cluster.Attach) *lab.Lab {
	t.Helper()
	o.Static = true
	l, _ := newLab(t, o)
	gauges := gaugeNodes(t, l)
	for _, n := range l.Nodes {
		for _, ifc := range status(t, n).Interfaces {
			if !ifc.Attached || ifc.Mode != attached.String() || ifc.L2 != o.L2.String() {
				t.Errorf("%s of %s: attached %v, %s, l2 %s; want true, %s, %s",
					ifc.Name, n.Name, ifc.Attached, ifc.Mode, ifc.L2, attached, o.L2)
			}
		}
	}
	if o.Mode == cluster.Gateway {
		serveBulk(t, l.Server)
	} else {
		for _, n := range l.Nodes {
			serveBulk(t, n.NS)
		}
	}
	probe(t, l, lab.TCP, lab.UDP, lab.Ping)
	checkDatagrams(t, l, fragmented)
	checkBulk(t, l)
	checkOneHandler(t, gauges, l.ClientAddresses(), viaTCP, viaUDP, viaICMP)
	return l
}
