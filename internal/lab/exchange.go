package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// exchange sends a request and waits for its first answer, then for the time
// in which a second one would come. An error says why there was none.
func (p *Probe) exchange(r *request) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.opts.Timeout)
	defer cancel()
	var err error
	switch r.kind {
	case TCP:
		err = p.overTCP(ctx, r, EchoPort, askLine)
	case HTTP:
		err = p.overTCP(ctx, r, HTTPPort, askHTTP)
	case UDP:
		return p.overUDP(ctx, r) // lingers by itself: its socket must stay open
	case Ping:
		if err = p.pinger.send(r); err == nil {
			select {
			case <-r.first:
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
	}
	if err == nil {
		time.Sleep(p.opts.Linger)
	}
	return err
}

// local and remote are the request's ends.
func (r *request) local() netip.AddrPort { return netip.AddrPortFrom(r.key.client, r.key.id) }

func (p *Probe) overTCP(ctx context.Context, r *request, port uint16, ask func(net.Conn, string) error) error {
	c, err := p.lab.Clients.Dial(ctx, "tcp", r.local(), netip.AddrPortFrom(r.target, port))
	if err != nil {
		return err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	c.SetDeadline(deadline)
	if err := ask(c, r.question()); err != nil {
		return err
	}
	p.lab.seen.answered(r.key)
	return nil
}

// question is text that no other pending request has.
func (r *request) question() string { return r.local().String() }

// checkAnswer says whether an answer is a name and the question.
func checkAnswer(answer, question string) error {
	name, rest, ok := strings.Cut(answer, " ")
	if !ok || name == "" || rest != question {
		return fmt.Errorf("wrong answer %q to %q", answer, question)
	}
	return nil
}

func askLine(c net.Conn, question string) error {
	if _, err := fmt.Fprintln(c, question); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err
	}
	return checkAnswer(strings.TrimSuffix(line, "\n"), question)
}

func askHTTP(c net.Conn, _ string) error {
	host := netip.MustParseAddrPort(c.RemoteAddr().String())
	_, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
	if err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP status %s", resp.Status)
	}
	return nil
}

func (p *Probe) overUDP(ctx context.Context, r *request) error {
	c, err := p.lab.Clients.Dial(ctx, "udp", r.local(), netip.AddrPortFrom(r.target, EchoPort))
	if err != nil {
		return err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	c.SetDeadline(deadline)
	if _, err := io.WriteString(c, r.question()); err != nil {
		return err
	}
	buf := make([]byte, 1500)
	for answers := 0; ; answers++ {
		n, err := c.Read(buf)
		if err != nil && answers > 0 {
			return nil // the time to linger is over
		}
		if err != nil {
			return err
		}
		if err := checkAnswer(string(buf[:n]), r.question()); err != nil {
			return err
		}
		p.lab.seen.answered(r.key)
		if answers == 0 {
			c.SetReadDeadline(time.Now().Add(p.opts.Linger))
		}
	}
}
