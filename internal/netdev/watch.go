package netdev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// EventKind is what happened.
type EventKind uint8

// The kinds of events.
const (
	LinkAdded      EventKind = iota // an interface appeared
	LinkRemoved                     // an interface is gone
	LinkChanged                     // its name, MAC, MTU, state or carrier is another
	AddressRemoved                  // an address was taken from an interface
	Resync                          // events were lost: anything may have happened
)

func (k EventKind) String() string {
	return [...]string{"link added", "link removed", "link changed", "address removed", "resync"}[k]
}

// Event is a change of the host's network configuration. It is a hint to look
// again: the state that it tells of may have changed since.
type Event struct {
	Kind  EventKind
	Name  string // the interface's; empty in a Resync
	Index int
	Addr  netip.Addr // of AddressRemoved
}

// Watch reports changes of interfaces and removed addresses until ctx ends,
// then closes the channel. If it closes earlier, the subscription has failed:
// check everything and watch again. A slow reader gets a Resync in the place
// of events that the kernel could not keep.
func Watch(ctx context.Context) (<-chan Event, error) {
	sock, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return nil, fmt.Errorf("watch interfaces: subscribe: %w", err)
	}
	// A socket of its own, opened here, keeps later listings in the namespace
	// of the caller's thread.
	lister, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		sock.Close()
		return nil, fmt.Errorf("watch interfaces: %w", err)
	}
	w := &watcher{ctx: ctx, sock: sock, lister: lister, events: make(chan Event, 64)}
	if w.drainFD, err = unix.FcntlInt(uintptr(sock.GetFd()), unix.F_DUPFD_CLOEXEC, 0); err == nil {
		if err = w.list(); err != nil {
			unix.Close(w.drainFD)
		}
	}
	if err != nil {
		sock.Close()
		lister.Close()
		return nil, fmt.Errorf("watch interfaces: %w", err)
	}
	go w.run()
	return w.events, nil
}

type watcher struct {
	ctx     context.Context
	sock    *nl.NetlinkSocket
	drainFD int // the same socket; not closed while in use, as sock may be
	lister  *netlink.Handle
	links   map[int]LinkInfo
	events  chan Event
}

func (w *watcher) run() {
	stop := context.AfterFunc(w.ctx, w.sock.Close)
	defer func() {
		if stop() {
			w.sock.Close()
		}
		unix.Close(w.drainFD)
		w.lister.Close()
		close(w.events)
	}()
	for {
		messages, from, err := w.sock.Receive()
		if errors.Is(err, unix.ENOBUFS) {
			w.drain()
			if w.list() != nil || !w.emit(Event{Kind: Resync}) {
				return
			}
			continue
		}
		if err != nil {
			return
		}
		if from.Pid != 0 { // not from the kernel
			continue
		}
		for _, m := range messages {
			if e, ok := w.event(m); ok && !w.emit(e) {
				return
			}
		}
	}
}

func (w *watcher) emit(e Event) bool {
	select {
	case w.events <- e:
		return true
	case <-w.ctx.Done():
		return false
	}
}

// drain empties the socket. After an overflow the kernel goes on dropping
// events, without saying so again, until the reader has taken all that is
// queued (net/netlink/af_netlink.c, NETLINK_S_CONGESTED): only a state listed
// after that is followed by the events after it.
func (w *watcher) drain() {
	var err error
	for err == nil || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOBUFS) {
		_, _, err = unix.Recvfrom(w.drainFD, make([]byte, 1), unix.MSG_DONTWAIT)
	}
}

func (w *watcher) list() error {
	links, err := w.lister.LinkList()
	for errors.Is(err, netlink.ErrDumpInterrupted) {
		links, err = w.lister.LinkList()
	}
	if err != nil {
		return err
	}
	w.links = make(map[int]LinkInfo, len(links))
	for _, l := range links {
		w.links[l.Attrs().Index] = linkInfo(l)
	}
	return nil
}

func (w *watcher) event(m syscall.NetlinkMessage) (Event, bool) {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return w.linkEvent(m)
	case unix.RTM_DELADDR:
		return w.addressEvent(m)
	}
	return Event{}, false
}

func (w *watcher) linkEvent(m syscall.NetlinkMessage) (Event, bool) {
	// Bridges send messages of their own family when a port leaves them.
	if len(m.Data) < unix.SizeofIfInfomsg || m.Data[0] != unix.AF_UNSPEC {
		return Event{}, false
	}
	l, err := netlink.LinkDeserialize(nil, m.Data)
	if err != nil {
		return Event{}, false
	}
	info := linkInfo(l)
	e := Event{Name: info.Name, Index: info.Index}
	before, known := w.links[info.Index]
	switch {
	case m.Header.Type == unix.RTM_DELLINK:
		e.Kind = LinkRemoved
		delete(w.links, info.Index)
		return e, true
	case !known:
		e.Kind = LinkAdded
	case before != info:
		e.Kind = LinkChanged
	default: // statistics, a bridge's or an address family's settings
		return Event{}, false
	}
	w.links[info.Index] = info
	return e, true
}

func (w *watcher) addressEvent(m syscall.NetlinkMessage) (Event, bool) {
	if len(m.Data) < unix.SizeofIfAddrmsg {
		return Event{}, false
	}
	msg := nl.DeserializeIfAddrmsg(m.Data)
	attrs, err := nl.ParseRouteAttr(m.Data[unix.SizeofIfAddrmsg:])
	if err != nil {
		return Event{}, false
	}
	var ip net.IP
	for _, a := range attrs {
		// IPv6 sends IFA_ADDRESS alone; where both are there, that one is the
		// peer's.
		if a.Attr.Type == unix.IFA_LOCAL || a.Attr.Type == unix.IFA_ADDRESS && ip == nil {
			ip = a.Value
		}
	}
	index := int(msg.Index)
	return Event{Kind: AddressRemoved, Name: w.links[index].Name, Index: index, Addr: netIP(ip)}, true
}
