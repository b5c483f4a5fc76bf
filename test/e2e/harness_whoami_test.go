//go:build privileged

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/lab"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// whoamiPort is where hosts tell who asks them, over TCP and UDP.
const whoamiPort = 7100

// serveWhoami listens in a namespace until the test ends. Over TCP it speaks
// first, as ssh does: a line with the peer's address and port; then it answers
// each line with itself. A datagram it answers with its sender's address and
// port, from the address that was asked.
func serveWhoami(t *testing.T, ns *lab.Namespace) {
	t.Helper()
	serveTCP(t, ns, fmt.Sprintf(":%d", whoamiPort), converse)
	for _, network := range []string{"udp4", "udp6"} {
		c, err := ns.ListenPacket(network, fmt.Sprintf(":%d", whoamiPort))
		must(t, err)
		t.Cleanup(func() { c.Close() })
		if network == "udp4" {
			must(t, ipv4.NewPacketConn(c).SetControlMessage(ipv4.FlagDst, true))
		} else {
			must(t, ipv6.NewPacketConn(c).SetControlMessage(ipv6.FlagDst, true))
		}
		go answerWhoami(c.(*net.UDPConn))
	}
}

func converse(c net.Conn) {
	c.SetDeadline(time.Now().Add(answerTime))
	if _, err := fmt.Fprintln(c, c.RemoteAddr()); err == nil {
		io.Copy(c, c)
	}
}

func answerWhoami(c *net.UDPConn) {
	buf, info := make([]byte, 1500), make([]byte, 64)
	for {
		_, infoLen, _, from, err := c.ReadMsgUDPAddrPort(buf, info)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			c.WriteMsgUDPAddrPort([]byte(from.String()), info[:infoLen], from)
		}
	}
}

// whoami asks a host and returns what it says. The zero local address leaves
// the choice to the kernel. Over TCP it holds a conversation of some lines.
func whoami(ctx context.Context, ns *lab.Namespace, network string, local, host netip.Addr) (netip.Addr, error) {
	var from netip.AddrPort
	if local.IsValid() {
		from = netip.AddrPortFrom(local, 0)
	}
	c, err := dialUntil(ctx, ns, network, from, netip.AddrPortFrom(host, whoamiPort))
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	if network == "udp" {
		if _, err := io.WriteString(c, "who am I?"); err != nil {
			return netip.Addr{}, err
		}
		buf := make([]byte, 100)
		n, err := c.Read(buf)
		if err != nil {
			return netip.Addr{}, err
		}
		return parseWhoami(string(buf[:n]))
	}
	lines := bufio.NewReader(c)
	said, err := lines.ReadString('\n')
	if err != nil {
		return netip.Addr{}, err
	}
	for range 3 {
		if _, err := io.WriteString(c, said); err != nil {
			return netip.Addr{}, err
		}
		if again, err := lines.ReadString('\n'); err != nil || again != said {
			return netip.Addr{}, fmt.Errorf("%q came back as %q: %w", said, again, err)
		}
	}
	return parseWhoami(strings.TrimSpace(said))
}

func parseWhoami(s string) (netip.Addr, error) {
	a, err := netip.ParseAddrPort(s)
	return a.Addr().Unmap(), err
}
