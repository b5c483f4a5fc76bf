//go:build privileged

package dataplane

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"
	"github.com/shoal-net/shoal/internal/cluster"
)

func TestHeartbeatRecord(t *testing.T) {
	enterNamespace(t)
	r := newRig(t, setup{heartbeats: true})
	ring, err := ringbuf.NewReader(r.maps["heartbeats"])
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	for _, k := range []kind{inXDP, inTCX} {
		for _, f := range families {
			for _, size := range []int{0, 1, 64, 1400} {
				frame := ethFrom(peerMAC, toCluster, ip(f.peer, f.vip, udpWith(7625, cluster.HeartbeatPort, make([]byte, size)), ttl(255)))
				before := Now()
				if got := r.run(t, k, frame); got.counted != "heartbeat" || got.passed {
					t.Fatalf("%s, %s: %+v", f.name, k, got)
				}
				checkHeartbeat(t, ring, before, frame)
			}
		}
	}
}

func checkHeartbeat(t *testing.T, ring *ringbuf.Reader, before time.Duration, frame []byte) {
	t.Helper()
	ring.SetDeadline(time.Now().Add(time.Second))
	record, err := ring.Read()
	if err != nil {
		t.Fatal(err)
	}
	var hb ingressXDPHeartbeat
	if len(record.RawSample) != int(unsafe.Sizeof(hb)) {
		t.Fatalf("a record of %d bytes, expected %d", len(record.RawSample), unsafe.Sizeof(hb))
	}
	if _, err := binary.Decode(record.RawSample, binary.NativeEndian, &hb); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(hb.Frame[:hb.Length], frame) {
		t.Errorf("frame % x, sent % x", hb.Frame[:hb.Length], frame)
	}
	if hb.Node != peerID || hb.Ifindex != loopback {
		t.Errorf("node %d on interface %d", hb.Node, hb.Ifindex)
	}
	if at := time.Duration(hb.Received); at < before || at > Now() {
		t.Errorf("received at %s, not between %s and now", at, before)
	}
}

// A receiver that does not keep up loses heartbeats, and the counter says so.
func TestHeartbeatRingFull(t *testing.T) {
	enterNamespace(t)
	r := newRig(t, setup{heartbeats: true})
	frame := ethFrom(peerMAC, toCluster, ipv4(peer4, vip4, udp(7625, cluster.HeartbeatPort), ttl(255)))
	room := int(r.maps["heartbeats"].MaxEntries())/int(unsafe.Sizeof(ingressXDPHeartbeat{})) + 1
	for i := range room {
		switch got := r.run(t, inXDP, frame); got.counted {
		case "heartbeat":
		case "drop_heartbeat_full":
			if got.passed || i < 100 {
				t.Errorf("number %d: %+v", i, got)
			}
			return
		default:
			t.Fatalf("%+v", got)
		}
	}
	t.Errorf("%d heartbeats fit", room)
}
