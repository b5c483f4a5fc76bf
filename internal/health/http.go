package health

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/shoal-net/shoal/internal/cluster"
)

// Limits of what a service is listened to, in bytes.
const (
	maxBody     = 64 << 10
	maxResponse = 1 << 20 // with head and framing
)

// httpProbe asks whether the service answers a GET as it should. The connection
// goes to the check's target, whatever host the URL names, and serves for one
// request: each check is to find out whether a client could connect now. An
// http.Client would do more than is wanted (proxies, redirections, connections
// that outlive the request).
func httpProbe(c cluster.Check) probe {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
		if err != nil {
			return err
		}
		request.Header.Set("User-Agent", "shoal")
		request.Close = true
		conn, err := dial(ctx, "tcp", c)
		if err != nil {
			return err
		}
		defer conn.Close()
		if request.URL.Scheme == "https" {
			secure := tls.Client(conn, &tls.Config{ServerName: request.URL.Hostname(), InsecureSkipVerify: c.Insecure})
			if err := secure.HandshakeContext(ctx); err != nil {
				return err
			}
			conn = secure
		}
		return exchange(conn, request, c)
	}
}

func exchange(conn net.Conn, request *http.Request, c cluster.Check) error {
	if err := request.Write(conn); err != nil {
		return err
	}
	reader := bufio.NewReader(io.LimitReader(conn, maxResponse))
	for {
		response, err := http.ReadResponse(reader, request)
		if err != nil {
			return err
		}
		// Others come before the one that counts (RFC 9110, 15.2).
		if response.StatusCode >= 200 {
			return judgeResponse(c, response)
		}
	}
}

func judgeResponse(c cluster.Check, r *http.Response) error {
	if !hasStatus(c.Status, r.StatusCode) {
		return fmt.Errorf("status %d", r.StatusCode)
	}
	if c.Body == "" {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	switch {
	case bytes.Contains(body, []byte(c.Body)):
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("status %d, but no %q in the body", r.StatusCode, c.Body)
	}
}

func hasStatus(ranges []cluster.Range, status int) bool {
	for _, r := range ranges {
		if r.First <= status && status <= r.Last {
			return true
		}
	}
	return false
}
