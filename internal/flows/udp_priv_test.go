//go:build privileged

package flows

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// udpOf lists what UDP calls.
func (s *site) udpOf(f *Flows) (found []string) {
	s.Helper()
	s.must(f.UDP(func(client, server netip.AddrPort, bucket int) {
		found = append(found, fmt.Sprintf("%v %v in %d", client, server, bucket))
	}))
	slices.Sort(found)
	return found
}

// UDP flows of a gateway, as the data plane names them: by their clients, and
// as packets of each side have them.
func TestGatewayUDP(t *testing.T) {
	s := newSite(t)
	c := s.gateway()
	tracker := s.tracker()
	var want []string
	for _, m := range []struct {
		original, reply, client string // client: of the bucket; empty: none of the cluster's
		flows                   []string
	}{
		{"198.51.100.1 4000 > 10.9.0.2 53", "10.9.0.2 53 > 198.51.100.1 4000", "198.51.100.1", []string{"198.51.100.1:4000 10.9.0.2:53"}},
		{"2001:db8:9::2 5000 > 2001:db8:1::2 53", "2001:db8:1::2 53 > 2001:db8:9::2 5000", "2001:db8:1::2",
			[]string{"[2001:db8:1::2]:53 [2001:db8:9::2]:5000"}}, // a server opened it
		{"198.51.100.5 4000 > 192.0.2.10 53", "10.9.0.2 5353 > 198.51.100.5 4000", "198.51.100.5",
			[]string{"198.51.100.5:4000 192.0.2.10:53", "198.51.100.5:4000 10.9.0.2:5353"}}, // DNAT
		{"10.9.0.2 5000 > 198.51.100.6 53", "198.51.100.6 53 > 192.0.2.10 5000", "198.51.100.6",
			[]string{"198.51.100.6:53 10.9.0.2:5000", "198.51.100.6:53 192.0.2.10:5000"}}, // a server behind SNAT
		{"198.51.100.7 4000 > 192.0.2.10 53", "192.0.2.10 53 > 198.51.100.7 4000", "198.51.100.7", []string{"198.51.100.7:4000 192.0.2.10:53"}}, // of the gateway's own
		{"10.9.0.2 4000 > 10.9.0.1 53", "10.9.0.1 53 > 10.9.0.2 4000", "10.9.0.1", []string{"10.9.0.1:53 10.9.0.2:4000"}},                       // from the server side
		{"192.0.2.10 4001 > 198.51.100.8 53", "198.51.100.8 53 > 192.0.2.10 4001", "198.51.100.8", []string{"198.51.100.8:53 192.0.2.10:4001"}}, //
		{"10.8.0.2 4000 > 10.9.0.2 53", "10.9.0.2 53 > 10.8.0.2 4000", "", nil},                                                                 // by another link
	} {
		s.make(tracker, made{protocol: udp, original: m.original, reply: m.reply}, 0)
		for _, flow := range m.flows {
			want = append(want, fmt.Sprintf("%s in %d", flow, bucketOf(c, netip.MustParseAddr(m.client))))
		}
	}
	s.make(tracker, made{protocol: tcp, state: estab, original: "198.51.100.1 4000 > 10.9.0.2 80", reply: "10.9.0.2 80 > 198.51.100.1 4000"}, 0)
	slices.Sort(want)
	if diff := cmp.Diff(want, s.udpOf(s.open(c)), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("UDP flows (-want +got)\n%s", diff)
	}
	if found := s.udpOf(s.open(backend())); len(found) > 0 {
		t.Errorf("a backend's: %v", found)
	}
}
