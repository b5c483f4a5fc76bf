//go:build privileged

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

// The test binary is also the program that labs run on their nodes, and the
// lab that is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "up":
			fakeAgent()
		case "down":
			fakeDown()
		case heartbeatCommand:
			select {}
		case "status":
			fakeStatus()
		case "crash":
			crashingLab(os.Args[2])
		default: // tests that were taken for shoal would start themselves again
			if !strings.HasPrefix(os.Args[1], "-test.") {
				exitOn(fmt.Errorf("the fake shoal has no command %s", os.Args[1]))
			}
		}
	}
	os.Exit(m.Run())
}

// fakeAgent adds the cluster's addresses to its node, whose kernel then
// answers everything; it takes no part in sharing. What it leaves when it is
// killed is a file named after the instance.
func fakeAgent() {
	for name, s := range map[string]segment{clientEth: clientSegment, serverEth: serverSegment} {
		link, err := netlink.LinkByName(name)
		if errors.As(err, new(netlink.LinkNotFoundError)) && name == serverEth {
			continue // a backend
		}
		exitOn(err)
		for _, vip := range s.hosts(0, hostVIP) {
			exitOn(netlink.AddrReplace(link, address(netip.PrefixFrom(vip, vip.BitLen()))))
		}
	}
	pin := pinOf(os.Args[len(os.Args)-1])
	exitOn(os.WriteFile(pin, nil, 0o644))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	fmt.Fprintln(os.Stderr, "fake agent is up")
	if os.Getenv("SHOAL_FAKE") == "heartbeat" {
		cmd := exec.Command("/proc/self/exe", heartbeatCommand)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		runtime.LockOSThread() // whose end would be the child's
		exitOn(cmd.Start())
	}
	switch os.Getenv("SHOAL_FAKE") {
	case "silent": // never ready
		fmt.Fprintln(os.Stderr, "will not get ready")
	case "fails":
		fmt.Fprintln(os.Stderr, "no such feature")
		os.Remove(pin)
		os.Exit(1)
	default:
		c, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
		exitOn(err)
		_, err = c.Write([]byte("STATUS=up\nREADY=1\n"))
		exitOn(err)
	}
	<-ctx.Done()
	exitOn(os.Remove(pin))
	os.Exit(0)
}

// fakeStatus is the status of a cluster that is whole: nobody has a bucket, of
// which there are none.
func fakeStatus() {
	fmt.Println(`[{"lease": {"valid": true}, "buckets": {"total": 0, "owned": 0}}]`)
	os.Exit(0)
}

func fakeDown() {
	exitOn(os.RemoveAll(pinOf(os.Args[len(os.Args)-1])))
	os.Exit(0)
}

func pinOf(instance string) string { return filepath.Join(os.TempDir(), "shoal-fake-pin-"+instance) }

func crashingLab(name string) {
	l, err := New(context.Background(), Options{Name: name, Nodes: 2, Clients: 3})
	exitOn(err)
	exitOn(l.Nodes[1].Kill()) // cannot take itself down
	fmt.Println("built")
	select {}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// labName is a name that no other test has.
func labName(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("t%d-%s", os.Getpid(), strings.ToLower(strings.TrimPrefix(t.Name(), "Test")))
	name = strings.NewReplacer("/", "-", "_", "-").Replace(name)
	return name[:min(32, len(name))]
}

// start builds a lab that is closed with the test.
func start(t *testing.T, o Options) *Lab {
	t.Helper()
	setDefault(&o.Name, labName(t))
	var log bytes.Buffer
	if o.Log == nil {
		o.Log = &log
	}
	l, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return l
}

// traces lists what labs with the given name leave on this machine.
func traces(t *testing.T, name string) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{netnsDir + "/*" + name + "*", labsDir + "/" + name + "*", pinOf("*" + name + "*")} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, name) {
			all = append(all, line)
		}
	}
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		all = append(all, "link "+l.Attrs().Name)
	}
	return append(all, processes(t, name)...)
}

// processes lists processes that have name in their arguments, but this one.
func processes(t *testing.T, name string) []string {
	t.Helper()
	var all []string
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		line, _ := os.ReadFile(file)
		args := strings.ReplaceAll(string(line), "\x00", " ")
		if strings.Contains(args, name) && !strings.Contains(file, fmt.Sprintf("/%d/", os.Getpid())) {
			all = append(all, args)
		}
	}
	return all
}

// crash runs a lab in a process of its own and kills it when it is built.
func crash(t *testing.T, name string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "crash", name)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 16)
	if _, err := out.Read(line); err != nil {
		t.Fatal("the lab was not built: ", err)
	}
	cmd.Process.Kill()
	cmd.Wait()
}
