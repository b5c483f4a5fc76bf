package health

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
)

// ask asks once, as Watch does, and returns why it failed in words.
func ask(t *testing.T, c cluster.Check) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), c.Timeout)
	defer cancel()
	if err := newProbe(c)(ctx); err != nil {
		return words(err, c.Timeout)
	}
	return ""
}

func expectWords(t *testing.T, got, want string) {
	t.Helper()
	if want == "" && got != "" || !strings.Contains(got, want) || strings.Contains(got, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
}

// short is a time in which nothing answers; long is one in which all must.
const (
	short = 50 * time.Millisecond
	long  = 10 * time.Second
)

func listen(t *testing.T, address string) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

func addrPort(a net.Addr) netip.AddrPort { return netip.MustParseAddrPort(a.String()) }

func TestTCP(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l := listen(t, address)
		c := cluster.Check{Target: addrPort(l.Addr()), Timeout: long}
		expectWords(t, ask(t, c), "")
		l.Close()
		expectWords(t, ask(t, c), "connection refused")
	}
}

// A service that hangs takes no connection once its queue is full.
func TestTCPTimeout(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	c := cluster.Check{Target: addrPort(l.Addr()), Timeout: short}
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { shrinkBacklog(t, int(fd)) }); err != nil {
		t.Fatal(err)
	}
	for range 4 { // one more than the queue takes, and then some
		conn, err := net.DialTimeout("tcp", l.Addr().String(), short)
		if err != nil {
			break
		}
		defer conn.Close()
	}
	expectWords(t, ask(t, c), "no answer within 50ms")
}

func web(t *testing.T, handle http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s
}

func webCheck(s *httptest.Server, path string) cluster.Check {
	u, err := url.Parse(s.URL)
	if err != nil {
		panic(err)
	}
	return cluster.Check{
		Kind: cluster.CheckHTTP, URL: s.URL + path, Target: netip.MustParseAddrPort(u.Host), Timeout: long,
		Status: []cluster.Range{{First: 200, Last: 299}, {First: 304, Last: 304}},
	}
}

func TestHTTP(t *testing.T) {
	s := web(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			io.WriteString(w, "all is well\n")
		case "/bad":
			http.Error(w, "no", http.StatusServiceUnavailable)
		case "/same":
			w.WriteHeader(http.StatusNotModified)
		case "/away":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/long":
			w.Write(append(bytes.Repeat([]byte{'x'}, maxBody-4), "wellwell"...))
		case "/cut":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "all is")
		case "/hints":
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/endless":
			for r.Context().Err() == nil {
				w.Write(make([]byte, 1<<16))
			}
		case "/head":
			w.Header().Set("X", strings.Repeat("x", maxResponse))
		case "/asked":
			io.WriteString(w, r.Method+" "+r.Host+" "+r.UserAgent()+" "+r.Header.Get("Accept-Encoding")+" close:"+r.Header.Get("Connection"))
		}
	})
	for _, tt := range []struct {
		path, body, want string
	}{
		{"/", "", ""},
		{"/same", "", ""},
		{"/bad", "", "status 503"},
		{"/away", "", "status 302"},
		{"/", "is well", ""},
		{"/", "is bad", `status 200, but no "is bad" in the body`},
		{"/long", "well", ""},
		{"/long", "wellwell", "but no"},
		{"/cut", "all is", ""},
		{"/cut", "well", "unexpected EOF"},
		{"/hints", "", "status 503"},
		{"/endless", "well", "but no"},
		{"/head", "", "unexpected EOF"},
		{"/asked", "GET " + strings.TrimPrefix(s.URL, "http://") + " shoal  close:close", ""},
	} {
		c := webCheck(s, tt.path)
		c.Body = tt.body
		expectWords(t, ask(t, c), tt.want)
	}
}

// The connection goes to the target, and names are never looked up; nor is a
// proxy asked.
func TestHTTPTarget(t *testing.T) {
	t.Setenv("http_proxy", "http://127.0.0.1:1/")
	s := web(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })
	c := webCheck(s, "")
	c.URL, c.Body = "http://www.example.invalid/", "www.example.invalid"
	expectWords(t, ask(t, c), "")
}

func TestHTTPFaults(t *testing.T) {
	release := make(chan struct{})
	s := web(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	c := webCheck(s, "/")
	c.Timeout = short
	expectWords(t, ask(t, c), "no answer within 50ms")

	dripping := web(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	c = webCheck(dripping, "/")
	expectWords(t, ask(t, c), "")
	c.Timeout, c.Body = short, "ok"
	expectWords(t, ask(t, c), "no answer within 50ms")

	l := listen(t, "127.0.0.1:0")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, 1024))
			io.WriteString(conn, "220 mail.example.com ESMTP\r\n")
			conn.Close()
		}
	}()
	c.Target, c.Timeout, c.Body = addrPort(l.Addr()), long, ""
	expectWords(t, ask(t, c), "malformed HTTP")
	l.Close()
	expectWords(t, ask(t, c), "connection refused")
}

func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.TLS.ServerName)
	}))
	s.Config.ErrorLog = quietLog()
	s.StartTLS()
	t.Cleanup(s.Close)
	c := webCheck(s, "/")
	expectWords(t, ask(t, c), "certificate signed by unknown authority")
	c.Insecure = true
	expectWords(t, ask(t, c), "")
	c.URL, c.Body = "https://www.example.com/", "www.example.com" // the name goes to the server
	expectWords(t, ask(t, c), "")

	plain := webCheck(web(t, func(http.ResponseWriter, *http.Request) {}), "/")
	plain.URL = strings.Replace(plain.URL, "http:", "https:", 1)
	expectWords(t, ask(t, plain), "first record does not look like a TLS handshake")

	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.Config.ErrorLog = quietLog()
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.StartTLS()
	t.Cleanup(old.Close)
	c = webCheck(old, "/")
	c.Insecure = true
	expectWords(t, ask(t, c), "protocol version not supported")

	// It takes the connection, and says nothing.
	mute := listen(t, "127.0.0.1:0")
	c.Target, c.Timeout = addrPort(mute.Addr()), short
	expectWords(t, ask(t, c), "no answer within 50ms")
}
