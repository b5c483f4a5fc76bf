package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// Ports of the services. The TCP service answers each line with a line, the
// UDP service each datagram with a datagram: the name of who answers, a blank,
// and what was asked.
const (
	HTTPPort = 80
	EchoPort = 7000 // TCP and UDP
)

const (
	idleTime    = 30 * time.Second // an echo connection without a line is closed
	serviceRoom = 8 << 20          // bytes of datagrams that wait, with what the kernel needs for each
)

// services are the open sockets of all services. They listen on wildcard
// addresses: cluster addresses come and go with the agents.
type services struct{ open []io.Closer }

func (s *services) close() {
	for _, c := range s.open {
		c.Close()
	}
}

// startServices starts the services of the nodes or, behind a gateway, of the
// server.
func (l *Lab) startServices() error {
	if l.plan.gateway() {
		return l.serve(l.Server, partServer, func(uint8, netip.AddrPort) {})
	}
	for _, n := range l.Nodes {
		err := l.serve(n.NS, n.Name, func(protocol uint8, client netip.AddrPort) {
			l.seen.handled(key{protocol, client.Addr().Unmap(), client.Port()}, n.ID)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// serve starts the three services of one host. They call saw for what
// they get from whom.
func (l *Lab) serve(ns *Namespace, name string, saw func(protocol uint8, client netip.AddrPort)) error {
	web, err := ns.Listen("tcp", fmt.Sprintf(":%d", HTTPPort))
	if err != nil {
		return fmt.Errorf("serve HTTP on %s: %w", name, err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if client, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
			saw(protoTCP, client)
		}
		fmt.Fprintln(w, name)
	}), ReadHeaderTimeout: idleTime}
	l.services.open = append(l.services.open, server)
	go server.Serve(web)

	echo, err := ns.Listen("tcp", fmt.Sprintf(":%d", EchoPort))
	if err != nil {
		return fmt.Errorf("serve TCP on %s: %w", name, err)
	}
	l.services.open = append(l.services.open, echo)
	go serveLines(echo, name, saw)

	for _, network := range []string{"udp4", "udp6"} {
		c, err := ns.ListenPacket(network, fmt.Sprintf(":%d", EchoPort))
		if err != nil {
			return fmt.Errorf("serve UDP on %s: %w", name, err)
		}
		l.services.open = append(l.services.open, c)
		if err = makeRoom(c.(*net.UDPConn)); err != nil {
			return fmt.Errorf("serve UDP on %s: %w", name, err)
		}
		if network == "udp4" {
			err = ipv4.NewPacketConn(c).SetControlMessage(ipv4.FlagDst, true)
		} else {
			err = ipv6.NewPacketConn(c).SetControlMessage(ipv6.FlagDst, true)
		}
		if err != nil {
			return fmt.Errorf("serve UDP on %s: %w", name, err)
		}
		go serveDatagrams(c.(*net.UDPConn), name, saw)
	}
	return nil
}

func serveLines(l net.Listener, name string, saw func(uint8, netip.AddrPort)) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the connection is gone, not the listener
		}
		go func() {
			defer c.Close()
			saw(protoTCP, c.RemoteAddr().(*net.TCPAddr).AddrPort())
			lines := bufio.NewReader(c)
			for {
				c.SetDeadline(time.Now().Add(idleTime))
				line, err := lines.ReadSlice('\n')
				if err != nil {
					return
				}
				if _, err := fmt.Fprintf(c, "%s %s", name, line); err != nil {
					return
				}
			}
		}()
	}
}

// makeRoom lets a socket keep what comes while this process has no processor: the
// lab's own services must not lose what the cluster has handled.
func makeRoom(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	outer := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, serviceRoom)
	})
	return errors.Join(outer, err)
}

// serveDatagrams answers datagrams from the address that was asked, of which
// a node has several: the request's packet information (ip(7), IP_PKTINFO),
// sent back, makes the address that it came to the source of the answer.
func serveDatagrams(c *net.UDPConn, name string, saw func(uint8, netip.AddrPort)) {
	buf, info := make([]byte, 65535), make([]byte, 64)
	for {
		n, infoLen, _, from, err := c.ReadMsgUDPAddrPort(buf, info)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error about an earlier answer
		}
		saw(protoUDP, from)
		// A client that gets no answer counts that.
		c.WriteMsgUDPAddrPort(append([]byte(name+" "), buf[:n]...), info[:infoLen], from)
	}
}
