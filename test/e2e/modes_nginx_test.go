//go:build privileged

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/lab"
)

const nginxConfig = `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events { worker_connections 4096; }
http {
	access_log off;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	server { listen 80; listen [::]:80; location / { return 200 "%s"; } }
}
`

// startNginx runs Debian's nginx on a node until the test ends.
func startNginx(t *testing.T, n *lab.Node) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "nginx.conf")
	must(t, os.WriteFile(config, fmt.Appendf(nil, nginxConfig, n.Name), 0o644))
	cmd := exec.Command("nginx", "-e", "stderr", "-p", dir, "-c", config)
	log := &logbook{}
	cmd.Stdout, cmd.Stderr = log, log
	must(t, n.NS.Start(cmd))
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() && log.String() != "" {
			t.Logf("nginx of %s: %s", n.Name, log)
		}
	})
	await(t, "nginx to listen", func() bool {
		c, err := n.NS.Dial(t.Context(), "tcp", netip.AddrPort{}, netip.AddrPortFrom(n.Addresses()[0], 80))
		if err == nil {
			c.Close()
		}
		return err == nil
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
