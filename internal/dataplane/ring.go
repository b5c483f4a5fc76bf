package dataplane

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// ring is the consumer's side of a BPF ring buffer (kernel/bpf/ringbuf.c). The
// library's own reader waits in epoll, and spins while the oldest record is
// being written: neither is for a real-time thread with other things to wait
// for.
type ring struct {
	consumer, producer []byte // mapped memory
	consumed, produced *uint64
	data               []byte // every byte is there twice, so that no record is in two pieces
	next               uint64 // where the first record begins that was not handed out
}

// A record begins with its length and a word of the kernel's own.
const (
	recordHeader  = 8
	recordBusy    = 1 << 31 // BPF_RINGBUF_BUSY_BIT
	recordDiscard = 1 << 30 // BPF_RINGBUF_DISCARD_BIT
)

func mapRing(m *ebpf.Map) (*ring, error) {
	page, size := os.Getpagesize(), int(m.MaxEntries())
	consumer, err := unix.Mmap(m.FD(), 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the ring of heartbeats into memory: %w", err)
	}
	producer, err := unix.Mmap(m.FD(), int64(page), page+2*size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map the ring of heartbeats into memory: %w", err), unix.Munmap(consumer))
	}
	r := &ring{
		consumer: consumer,
		producer: producer,
		consumed: (*uint64)(unsafe.Pointer(&consumer[0])),
		produced: (*uint64)(unsafe.Pointer(&producer[0])),
		data:     producer[page:],
	}
	r.next = atomic.LoadUint64(r.consumed)
	return r, nil
}

// read gives the record before back to the kernel, and returns the next one;
// nil: there is none now. What it returns is the kernel's memory.
//
// The kernel writes a record, then its length without the busy bit, and wakes
// the poller only if all before it had been consumed by then; so the position
// is stored before the producer's is loaded, both in sequential order, and no
// record is slept over.
func (r *ring) read() []byte {
	atomic.StoreUint64(r.consumed, r.next)
	for r.next < atomic.LoadUint64(r.produced) {
		at := r.next & uint64(len(r.data)/2-1)
		header := atomic.LoadUint32((*uint32)(unsafe.Pointer(&r.data[at])))
		if header&recordBusy != 0 {
			return nil
		}
		length := uint64(header &^ (recordBusy | recordDiscard))
		r.next += recordHeader + (length+7)&^7
		if header&recordDiscard == 0 {
			return r.data[at+recordHeader:][:length]
		}
		atomic.StoreUint64(r.consumed, r.next)
	}
	return nil
}

func (r *ring) close() error {
	return errors.Join(unix.Munmap(r.consumer), unix.Munmap(r.producer))
}
