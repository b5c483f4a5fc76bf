// Package nginx runs Debian's nginx on hosts of the lab: a service as it is, to
// be asked by tests and measurements.
package nginx

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/shoal-net/shoal/internal/lab"
)

// Port is where it listens, over IPv4 and IPv6.
const Port = 80

// One worker in the foreground, which keeps connections for as long as clients
// want, and answers with a name.
const config = `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
worker_rlimit_nofile 20000;
events { worker_connections 16384; }
http {
	access_log off;
	keepalive_timeout 1d;
	keepalive_requests 1000000000;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	server { listen 80 backlog=4096; listen [::]:80 backlog=4096; location / { return 200 "%s"; } }
}
`

// How long it may take to listen, and how often it is asked meanwhile.
const (
	startTime  = 15 * time.Second
	startPause = 10 * time.Millisecond
)

// Server is an nginx that runs.
type Server struct {
	cmd *exec.Cmd
	log log
}

// log is what it prints.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// Start runs nginx in a namespace, with its files in a directory of its own, and
// waits until it listens at an address of that host. It answers with the name.
// Close ends it.
func Start(ctx context.Context, ns *lab.Namespace, at netip.Addr, name, dir string) (*Server, error) {
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, name), 0o644); err != nil {
		return nil, fmt.Errorf("configure nginx: %w", err)
	}
	s := &Server{cmd: exec.Command("nginx", "-e", "stderr", "-p", dir, "-c", file)}
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := ns.Start(s.cmd); err != nil {
		return nil, fmt.Errorf("start nginx (Debian's nginx-light) on %s: %w", name, err)
	}
	if err := s.await(ctx, ns, at); err != nil {
		s.Close()
		return nil, fmt.Errorf("nginx on %s does not listen: %w: %s", name, err, s.Log())
	}
	return s, nil
}

// await waits until it listens.
func (s *Server) await(ctx context.Context, ns *lab.Namespace, at netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		c, err := ns.Dial(ctx, "tcp", netip.AddrPort{}, netip.AddrPortFrom(at, Port))
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(startPause):
		}
	}
}

// Log is what it has printed so far: nothing, where all is well.
func (s *Server) Log() string {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return s.log.buf.String()
}

// Close ends it at once.
func (s *Server) Close() {
	s.cmd.Process.Kill()
	s.cmd.Wait() // says that it was killed
}
