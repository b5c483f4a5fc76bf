package failover

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shoal-net/shoal/internal/lab"
)

// Keepalived is a cluster of the lab's nodes that keepalived makes: the cluster
// address, of each family an instance of VRRPv3, is on one node. It stays where
// it is when a node comes back (nopreempt), which spares clients a second
// interruption.
type Keepalived struct {
	*lab.Lab
	options KeepalivedOptions
	dir     string
	daemons []*daemon // by node id - 1
}

// KeepalivedOptions are what clusters of keepalived differ in.
type KeepalivedOptions struct {
	Advert   time.Duration // between two advertisements, in steps of 10 ms
	Realtime bool          // run with real-time priority, which keepalived does not by default
}

// A daemon is keepalived on one node.
type daemon struct {
	node *lab.Node
	conf string
	cmd  *exec.Cmd
	log  transitions
}

// Link-local address of the IPv6 instance: VRRPv3 wants one to come first,
// RFC 5798 section 5.2.9.
var virtualLinkLocal = netip.MustParsePrefix("fe80::100/64")

const nodeLink = "eth1"

// NewKeepalived builds a lab whose nodes run keepalived, and observes it.
func NewKeepalived(ctx context.Context, o lab.Options, options KeepalivedOptions, m lab.MonitorOptions) (*Rig, error) {
	o.NoAgents = true
	l, err := lab.New(ctx, o)
	if err != nil {
		return nil, err
	}
	k := &Keepalived{Lab: l, options: options}
	if err := k.start(ctx); err != nil {
		return nil, errors.Join(err, l.Close(), k.Close())
	}
	r, err := NewRig(l, k, m)
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	r.close = append(r.close, k.Close)
	// A backup waits for three advertisements and a bit, RFC 5798 section 6.1.
	r.Quiet = max(r.Quiet, 3*options.Advert)
	r.Patience += 6 * options.Advert
	return r, nil
}

// start starts the daemons and waits until one has the cluster addresses:
// clients that ask before that would take a second to ask again.
func (k *Keepalived) start(ctx context.Context) (err error) {
	if k.dir, err = os.MkdirTemp("", "shoal-keepalived-"); err != nil {
		return err
	}
	for _, n := range k.Nodes {
		d := &daemon{node: n, conf: filepath.Join(k.dir, n.Name+".conf")}
		if err := os.WriteFile(d.conf, []byte(k.config(n)), 0o600); err != nil {
			return err
		}
		k.daemons = append(k.daemons, d)
		if err := d.start(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second+10*k.options.Advert)
	defer cancel()
	for {
		whole, err := k.Whole(nil)
		if whole || err != nil {
			return err
		}
		if err := sleep(ctx, poll); err != nil {
			return fmt.Errorf("no node alone has the cluster addresses: %w", err)
		}
	}
}

func (k *Keepalived) config(n *lab.Node) string {
	var b strings.Builder
	fmt.Fprintf(&b, "global_defs {\n router_id %s\n vrrp_version 3\n", n.Name)
	if k.options.Realtime {
		b.WriteString(" vrrp_rt_priority 50\n")
	}
	b.WriteString("}\n")
	// Both families go together, as they do where one service has both.
	b.WriteString("vrrp_sync_group both {\n group {\n")
	for i := range k.ClusterAddresses() {
		fmt.Fprintf(&b, "  i%d\n", i)
	}
	b.WriteString(" }\n}\n")
	for i, addr := range k.ClusterAddresses() {
		addresses := netip.PrefixFrom(addr, 16).String()
		if addr.Is6() {
			addresses = virtualLinkLocal.String() + "\n" + netip.PrefixFrom(addr, 64).String()
		}
		fmt.Fprintf(&b, "vrrp_instance i%d {\n state BACKUP\n nopreempt\n interface %s\n virtual_router_id %d\n priority %d\n advert_int %.2f\n virtual_ipaddress {\n%s\n}\n}\n",
			i, nodeLink, 51+i, 250-50*n.ID, k.options.Advert.Seconds(), addresses)
	}
	return b.String()
}

// startTime is how long a daemon may take to be ready.
const startTime = 10 * time.Second

// start starts the daemon and waits until its instances are backups.
func (d *daemon) start(ctx context.Context) error {
	name := strings.TrimSuffix(d.conf, ".conf")
	files := []string{name + ".pid", name + ".vrrp.pid"}
	for _, file := range files { // of one that was killed, and may be a zombie still
		os.Remove(file)
	}
	_, before := d.log.count()
	d.cmd = exec.Command("keepalived", "--dont-fork", "--log-console", "--vrrp", "--use-file", d.conf,
		"--pid", files[0], "--vrrp_pid", files[1])
	d.cmd.Stdout, d.cmd.Stderr = &d.log, &d.log
	if err := d.node.NS.Start(d.cmd); err != nil {
		return fmt.Errorf("start keepalived on %s: %w", d.node.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		if _, now := d.log.count(); now > before {
			return nil
		}
		if err := sleep(ctx, poll); err != nil {
			return fmt.Errorf("start keepalived on %s: it does not become a backup: %w", d.node.Name, err)
		}
	}
}

// pids are the processes of the daemon, children first.
func (d *daemon) pids() []int {
	if d.cmd == nil {
		return nil
	}
	children, _ := lab.Children(d.cmd.Process.Pid)
	return append(children, d.cmd.Process.Pid)
}

func (d *daemon) signal(sig syscall.Signal) error {
	for _, pid := range d.pids() {
		if err := unix.Kill(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("signal keepalived of %s: %w", d.node.Name, err)
		}
	}
	return nil
}

// restart starts the daemon anew where it was killed, without the addresses that
// the last one left: a new one would not know of them.
func (d *daemon) restart(ctx context.Context, k *Keepalived) error {
	d.cmd.Wait() // says that it was killed
	links := d.node.NS.Netlink()
	link, err := links.LinkByName(nodeLink)
	if err != nil {
		return fmt.Errorf("find %s of %s: %w", nodeLink, d.node.Name, err)
	}
	held, err := links.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list the addresses of %s: %w", d.node.Name, err)
	}
	for _, a := range held {
		if addr, _ := netip.AddrFromSlice(a.IP); k.virtual(addr.Unmap()) {
			if err := links.AddrDel(link, &a); err != nil {
				return fmt.Errorf("remove %s from %s: %w", a.IP, d.node.Name, err)
			}
		}
	}
	return d.start(ctx)
}

func (k *Keepalived) virtual(a netip.Addr) bool {
	return a == virtualLinkLocal.Addr() || slices.Contains(k.ClusterAddresses(), a)
}

// holders lists, for each cluster address, the nodes that have it.
func (k *Keepalived) holders() (map[netip.Addr][]int, error) {
	holders := map[netip.Addr][]int{}
	for _, n := range k.Nodes {
		links := n.NS.Netlink()
		link, err := links.LinkByName(nodeLink)
		if errors.As(err, new(netlink.LinkNotFoundError)) {
			continue // switched off
		}
		if err != nil {
			return nil, fmt.Errorf("find %s of %s: %w", nodeLink, n.Name, err)
		}
		held, err := links.AddrList(link, netlink.FAMILY_ALL)
		if err != nil {
			return nil, fmt.Errorf("list the addresses of %s: %w", n.Name, err)
		}
		for _, a := range held {
			if addr, _ := netip.AddrFromSlice(a.IP); slices.Contains(k.ClusterAddresses(), addr.Unmap()) {
				holders[addr.Unmap()] = append(holders[addr.Unmap()], n.ID)
			}
		}
	}
	return holders, nil
}

// Whole says whether one node that is not down has the cluster addresses.
func (k *Keepalived) Whole(down []int) (bool, error) {
	holders, err := k.holders()
	if err != nil {
		return false, err
	}
	var first []int
	for i, addr := range k.ClusterAddresses() {
		up := slices.DeleteFunc(holders[addr], func(id int) bool { return slices.Contains(down, id) })
		if i == 0 {
			first = up
		}
		if len(up) != 1 || up[0] != first[0] {
			return false, nil
		}
	}
	return true, nil
}

// Leader is the node that has the cluster addresses.
func (k *Keepalived) Leader() (int, error) {
	holders, err := k.holders()
	if err != nil {
		return 0, err
	}
	if nodes := holders[k.ClusterAddresses()[0]]; len(nodes) > 0 {
		return nodes[0], nil
	}
	return 0, errors.New("no node has the cluster address")
}

// Owners has no parts to tell of: one node has all.
func (k *Keepalived) Owners() ([]int, error) { return nil, nil }

// Victim is the leader: others serve nobody.
func (k *Keepalived) Victim(int) (int, error) { return k.Leader() }

// Inject strikes keepalived instead of the lab's agents.
func (k *Keepalived) Inject(f lab.Fault) (lab.Heal, error) {
	var struck []*daemon
	for _, id := range f.Nodes {
		struck = append(struck, k.daemons[id-1])
	}
	all := func(do func(*daemon) error) error {
		var errs []error
		for _, d := range struck {
			errs = append(errs, do(d))
		}
		return errors.Join(errs...)
	}
	restart := func(ctx context.Context) error { return all(func(d *daemon) error { return d.restart(ctx, k) }) }
	switch f.Kind {
	case lab.KillAgent, lab.KillBoth:
		return restart, all(func(d *daemon) error { return d.signal(unix.SIGKILL) })
	case lab.FreezeAgent, lab.FreezeBoth:
		return func(context.Context) error { return all(func(d *daemon) error { return d.signal(unix.SIGCONT) }) },
			all(func(d *daemon) error { return d.signal(unix.SIGSTOP) })
	case lab.KillHeartbeat, lab.FreezeHeartbeat, lab.RestartAll:
		return nil, fmt.Errorf("%s: keepalived is one process", f.Kind)
	}
	heal, err := k.Lab.Inject(f)
	if err != nil || f.Kind != lab.PowerOff {
		return heal, err
	}
	return func(ctx context.Context) error { return errors.Join(heal(ctx), restart(ctx)) }, nil
}

// Takeovers counts how often a node has become master, on all nodes together.
func (k *Keepalived) Takeovers() int {
	n := 0
	for _, d := range k.daemons {
		masters, _ := d.log.count()
		n += masters
	}
	return n
}

// Close ends the daemons. The lab must have been closed.
func (k *Keepalived) Close() error {
	for _, d := range k.daemons {
		if d.cmd.Process != nil {
			d.cmd.Wait() // ended with its namespace
		}
	}
	return os.RemoveAll(k.dir)
}

// transitions counts what keepalived logs when it becomes master or backup.
type transitions struct {
	mu             sync.Mutex
	rest           []byte
	master, backup int
}

func (t *transitions) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rest = append(t.rest, b...)
	for {
		line, rest, found := bytes.Cut(t.rest, []byte("\n"))
		if !found {
			return len(b), nil
		}
		t.rest = rest
		switch {
		case bytes.Contains(line, []byte("Entering MASTER STATE")):
			t.master++
		case bytes.Contains(line, []byte("Entering BACKUP STATE")):
			t.backup++
		}
	}
}

func (t *transitions) count() (master, backup int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.master, t.backup
}
