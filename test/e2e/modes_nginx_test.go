//go:build privileged

package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/lab"
	"github.com/shoal-net/shoal/test/nginx"
)

// startNginx runs Debian's nginx on a node until the test ends.
func startNginx(t *testing.T, n *lab.Node) {
	t.Helper()
	s, err := nginx.Start(t.Context(), n.NS, n.Addresses()[0], n.Name, t.TempDir())
	must(t, err)
	t.Cleanup(func() {
		s.Close()
		if t.Failed() && s.Log() != "" {
			t.Logf("nginx of %s: %s", n.Name, s.Log())
		}
	})
}

// Ten thousand fetches from many addresses, each over a connection of its own:
// none fails, and a client always meets the same node.
func TestModesNginx(t *testing.T) {
	const fetches = 10000
	l, _ := newLab(t, lab.Options{Static: true, Nodes: 3, Clients: 125, NoServices: true})
	for _, n := range l.Nodes {
		startNginx(t, n)
	}
	gauges := gaugeNodes(t, l)
	clients := l.ClientAddresses()
	work := make(chan netip.Addr)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for client := range work {
				fetchMany(t, l, client, fetches/len(clients))
			}
		})
	}
	for _, client := range clients {
		work <- client
	}
	close(work)
	wg.Wait()
	checkOneHandler(t, gauges, clients, viaTCP)
}

// fetchMany fetches a number of times from one address.
func fetchMany(t *testing.T, l *lab.Lab, client netip.Addr, times int) {
	target := l.Targets()[0]
	if client.Is6() {
		target = l.Targets()[1]
	}
	web := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return l.Clients.Dial(ctx, "tcp", netip.AddrPortFrom(client, 0), netip.AddrPortFrom(target, 80))
		},
	}}
	home := ""
	for i := range times {
		resp, err := web.Get("http://cluster.example/")
		if err != nil {
			t.Errorf("fetch %d of %s: %v", i, client, err)
			return
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("fetch %d of %s: %s, %v", i, client, resp.Status, err)
			return
		}
		if home == "" {
			home = string(body)
		}
		if string(body) != home {
			t.Errorf("fetch %d of %s: from %s, earlier ones from %s", i, client, body, home)
			return
		}
	}
}
