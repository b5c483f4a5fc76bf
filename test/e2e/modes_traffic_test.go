//go:build privileged

package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shoal-net/shoal/internal/lab"
)

// bulkPort is where serveBulk listens.
const bulkPort = 9100

// serveBulk serves transfers in a namespace until the test ends. A connection
// begins with two numbers of eight bytes: how much the client sends, and how
// much it wants. The answer begins with the checksum of what was sent.
func serveBulk(t *testing.T, ns *lab.Namespace) {
	t.Helper()
	serveTCP(t, ns, fmt.Sprintf(":%d", bulkPort), answerBulk)
}

func answerBulk(c net.Conn) {
	var sizes [2]int64
	if binary.Read(c, binary.BigEndian, &sizes) != nil {
		return
	}
	sum := crc32.NewIEEE()
	if _, err := io.CopyN(sum, c, sizes[0]); err != nil {
		return
	}
	if binary.Write(c, binary.BigEndian, sum.Sum32()) != nil {
		return
	}
	c.Write(pattern(sizes[1])) // the client counts what it gets
}

// pattern is data that does not repeat at a power of two, as a segment might.
func pattern(n int64) []byte {
	return bytes.Repeat([]byte("exactly one node"[:13]), int(n/13+1))[:n]
}

// bulk sends some bytes to a target and wants some back.
func bulk(l *lab.Lab, client, target netip.Addr, up, down int64) error {
	c, err := l.Clients.Dial(timeout(patience), "tcp", netip.AddrPortFrom(client, 0), netip.AddrPortFrom(target, bulkPort))
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	data := pattern(up)
	if err := binary.Write(c, binary.BigEndian, [2]int64{up, down}); err != nil {
		return err
	}
	if _, err := c.Write(data); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	var sum uint32
	if err := binary.Read(c, binary.BigEndian, &sum); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	if want := crc32.ChecksumIEEE(data); sum != want {
		return fmt.Errorf("upload: what came has checksum %08x, what was sent %08x", sum, want)
	}
	got, err := io.ReadAll(c)
	if err == nil && !bytes.Equal(got, pattern(down)) {
		err = fmt.Errorf("%d bytes, not the %d that were sent", len(got), down)
	}
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	return nil
}

// checkBulk lets some clients of each family upload and download a few
// megabytes.
func checkBulk(t *testing.T, l *lab.Lab) {
	t.Helper()
	for _, target := range l.Targets() {
		for _, client := range sameFamily(l.ClientAddresses(), target)[:3] {
			if err := bulk(l, client, target, 3<<20, 3<<20); err != nil {
				t.Errorf("bulk transfer of %s: %v", client, err)
				return // others would take as long to fail
			}
		}
	}
}

// sameFamily returns those of the addresses that are of the same family.
func sameFamily(all []netip.Addr, as netip.Addr) []netip.Addr {
	var some []netip.Addr
	for _, a := range all {
		if a.Is4() == as.Is4() {
			some = append(some, a)
		}
	}
	return some
}

// linger is how long a test waits for a second answer.
const linger = 50 * time.Millisecond

// datagram sends one datagram to the echo service and returns how many answers
// came within the time to linger after the first.
func datagram(l *lab.Lab, client, target netip.Addr, size int) (answers int, err error) {
	c, err := l.Clients.Dial(timeout(patience), "udp", netip.AddrPortFrom(client, 0), netip.AddrPortFrom(target, lab.EchoPort))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	question := string(pattern(int64(size)))
	if _, err := io.WriteString(c, question); err != nil {
		return 0, err
	}
	c.SetReadDeadline(time.Now().Add(time.Second))
	buf := make([]byte, 1<<16)
	for {
		n, err := c.Read(buf)
		if err != nil && answers > 0 {
			return answers, nil
		}
		if err != nil {
			return 0, err
		}
		if _, echo, _ := strings.Cut(string(buf[:n]), " "); echo != question {
			return answers, fmt.Errorf("an answer of %d bytes that is not the echo of %d", n, size)
		}
		answers++
		c.SetReadDeadline(time.Now().Add(linger))
	}
}

// checkDatagrams lets every client send a datagram of a size, at once, and
// wants one answer to each.
func checkDatagrams(t *testing.T, l *lab.Lab, size int) {
	t.Helper()
	var wg sync.WaitGroup
	for _, target := range l.Targets() {
		for _, client := range sameFamily(l.ClientAddresses(), target) {
			wg.Go(func() {
				if answers, err := datagram(l, client, target, size); err != nil || answers != 1 {
					t.Errorf("%d answers to a datagram of %d bytes from %s, want one: %v", answers, size, client, err)
				}
			})
		}
	}
	wg.Wait()
}
