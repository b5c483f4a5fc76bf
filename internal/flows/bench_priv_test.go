//go:build privileged

package flows

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const many = 10_000

// crowded makes a site whose node listens for many connections. No program
// accepts them, which would take file descriptors.
func crowded(b *testing.B) *site {
	b.Helper()
	s := newSite(b)
	s.sysctl("core/somaxconn", strconv.Itoa(many))
	for _, network := range []string{"tcp4", "tcp6"} {
		l := &busy{site: s}
		l.listen(80, network, func(fd int) error { return unix.Listen(fd, many) })
	}
	return s
}

// crowd connects many clients, from 200 addresses, to the node.
func (s *site) crowd() (far []*net.TCPConn) {
	s.Helper()
	for i := range many {
		from, vip := nth(clients4, 1+i/2%100), vip4
		if i%2 == 1 {
			from, vip = nth(clients6, 1+i/2%100), vip6
		}
		far = append(far, s.dial(from, netip.AddrPortFrom(vip, 80)))
	}
	return far
}

// enter brings a part of a benchmark, which has a goroutine of its own, into
// the node's namespace.
func (s *site) enter() {
	s.Helper()
	runtime.LockOSThread()
	s.must(netns.Set(s.node))
}

func sum(counts []int) (n int) {
	for _, in := range counts {
		n += in
	}
	return n
}

// processor is the time that the thread has had a processor: the machine may
// have other work.
func (s *site) processor() time.Duration {
	s.Helper()
	var u unix.Rusage
	s.must(unix.Getrusage(unix.RUSAGE_THREAD, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// timed repeats what handles many flows, and reports what it takes.
func timed(b *testing.B, s *site, handle func() (flows int, err error)) {
	b.Helper()
	s.enter()
	b.ReportAllocs()
	start := s.processor()
	for b.Loop() {
		flows, err := handle()
		s.must(err)
		if flows != many {
			b.Fatalf("%d flows, want %d", flows, many)
		}
	}
	b.ReportMetric(float64(s.processor()-start)/float64(b.N)/many, "cpu-ns/flow")
}

func benchmarkCount(b *testing.B, s *site, f *Flows) {
	var counts []int
	b.Run("count", func(b *testing.B) {
		timed(b, s, func() (_ int, err error) {
			counts, err = f.Count(counts)
			return sum(counts), err
		})
	})
}

func BenchmarkSockets(b *testing.B) {
	s := crowded(b)
	s.crowd()
	f := s.open(backend())
	benchmarkCount(b, s, f)
	b.Run("dump alone", func(b *testing.B) {
		timed(b, s, func() (n int, err error) {
			for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
				err = f.diag.request(sockDiagByFamily, unix.NLM_F_DUMP, diagRequest(nil, family, tcp, liveTCP, nil), func([]byte) { n++ })
				s.must(err)
			}
			return n, err
		})
	})
	b.Run("destroy none", func(b *testing.B) {
		timed(b, s, func() (int, error) {
			n, err := f.Destroy(func(int) bool { return false })
			return n + many, err
		})
	})
}

func BenchmarkEntries(b *testing.B) {
	s := newSite(b)
	c := s.tracker()
	for i := range many {
		client, port := nth(clients4, 1+i%200), 1024+i/200
		s.make(c, made{protocol: tcp, state: estab, original: fmt.Sprintf("%s %d > 192.0.2.10 80", client, port),
			reply: fmt.Sprintf("10.9.0.2 80 > %s %d", client, port)}, 0)
	}
	f := s.open(backend())
	benchmarkCount(b, s, f)
	b.Run("dump alone", func(b *testing.B) {
		timed(b, s, func() (n int, err error) {
			err = f.tracker.request(entryGet, unix.NLM_F_DUMP, make([]byte, sizeofNfgenmsg), func([]byte) { n++ })
			return n, err
		})
	})
	b.Run("dump by ti-mo", func(b *testing.B) {
		timed(b, s, func() (int, error) {
			all, err := c.Dump(nil)
			return len(all), err
		})
	})
}

// A client nobody has asked the way to before.
func BenchmarkWay(b *testing.B) {
	s := newSite(b)
	f := s.open(backend())
	f.sides.refresh()
	client, start := nth(clients6, 1), s.processor()
	for b.Loop() {
		f.sides.ask(destination{to: client, from: vip6})
	}
	b.ReportMetric(float64(s.processor()-start)/float64(b.N), "cpu-ns/op")
}

func BenchmarkDestroySockets(b *testing.B) {
	var took time.Duration
	for b.Loop() {
		s := crowded(b)
		f, far := s.open(backend()), s.crowd()
		start := s.processor()
		n, err := f.Destroy(func(int) bool { return true })
		s.must(err)
		took += s.processor() - start
		if n != many {
			b.Fatalf("%d destroyed, want %d", n, many)
		}
		for _, conn := range far {
			conn.Close()
		}
	}
	b.ReportMetric(float64(took)/float64(b.N)/many, "cpu-ns/flow")
}
