package cluster

import (
	"encoding"
	"fmt"
	"testing"
)

func TestWords(t *testing.T) {
	for _, tt := range []struct {
		value fmt.Stringer
		dst   encoding.TextUnmarshaler
		want  string
	}{
		{Backend, new(Mode), "backend"},
		{Gateway, new(Mode), "gateway"},
		{ClientSide, new(Side), "client"},
		{ServerSide, new(Side), "server"},
		{ByClient, new(Affinity), "client"},
		{ByNetwork, new(Affinity), "network"},
		{ByFlow, new(Affinity), "flow"},
		{KeySide, new(Key), "side"},
		{KeyOriginal, new(Key), "original"},
		{AttachAuto, new(Attach), "auto"},
		{AttachNative, new(Attach), "native"},
		{AttachGeneric, new(Attach), "generic"},
		{AttachTCX, new(Attach), "tcx"},
		{Unicast, new(L2), "unicast"},
		{Multicast, new(L2), "multicast"},
		{IGMP, new(L2), "igmp"},
		{PartitionDefault, new(Partition), "default"},
		{Available, new(Partition), "available"},
		{Majority, new(Partition), "majority"},
		{UDPMove, new(UDP), "move"},
		{UDPKeep, new(UDP), "keep"},
		{FlowsNone, new(Flows), "none"},
		{FlowsConntrack, new(Flows), "conntrack"},
		{UnhealthyKeep, new(AllUnhealthy), "keep"},
		{UnhealthyDrop, new(AllUnhealthy), "drop"},
		{CheckTCP, new(CheckKind), "tcp"},
		{CheckHTTP, new(CheckKind), "http"},
		{CheckDNS, new(CheckKind), "dns"},
		{CheckExec, new(CheckKind), "exec"},
		{TypeA, new(DNSType), "A"},
		{TypeAAAA, new(DNSType), "AAAA"},
		{TypeNS, new(DNSType), "NS"},
		{TypeCNAME, new(DNSType), "CNAME"},
		{TypeSOA, new(DNSType), "SOA"},
		{TypePTR, new(DNSType), "PTR"},
		{TypeMX, new(DNSType), "MX"},
		{TypeTXT, new(DNSType), "TXT"},
		{TypeSRV, new(DNSType), "SRV"},
	} {
		if got := tt.value.String(); got != tt.want {
			t.Errorf("%T: got %s, want %s", tt.value, got, tt.want)
		}
		if err := tt.dst.UnmarshalText([]byte(tt.want)); err != nil {
			t.Errorf("%T: %v", tt.value, err)
		}
		if got := fmt.Sprint(tt.dst); got != tt.want {
			t.Errorf("%T: %q is parsed as %s", tt.value, tt.want, got)
		}
	}
}

func TestUnknownWords(t *testing.T) {
	for _, tt := range []struct {
		dst  encoding.TextUnmarshaler
		want string
	}{
		{new(Mode), `"Flow" is none of backend, gateway`},
		{new(Side), `"Flow" is none of client, server`},
		{new(Affinity), `"Flow" is none of client, network, flow`},
		{new(Key), `"Flow" is none of side, original`},
		{new(Attach), `"Flow" is none of auto, native, generic, tcx`},
		{new(L2), `"Flow" is none of unicast, multicast, igmp`},
		{new(Partition), `"Flow" is none of default, available, majority`},
		{new(UDP), `"Flow" is none of move, keep`},
		{new(Flows), `"Flow" is none of none, conntrack`},
		{new(AllUnhealthy), `"Flow" is none of keep, drop`},
		{new(CheckKind), `"Flow" is none of tcp, http, dns, exec`},
		{new(DNSType), `"Flow" is none of A, AAAA, NS, CNAME, SOA, PTR, MX, TXT, SRV`},
	} {
		if err := tt.dst.UnmarshalText([]byte("Flow")); err == nil || err.Error() != tt.want {
			t.Errorf("%T: got %v, want %s", tt.dst, err, tt.want)
		}
	}
}

func TestNode(t *testing.T) {
	c := Cluster{Nodes: []Node{{ID: 3, Name: "gamma"}, {ID: 1, Name: "alpha"}}}
	if n, ok := c.Node(1); !ok || n.Name != "alpha" {
		t.Errorf("got %+v, %t", n, ok)
	}
	if n, ok := c.Node(2); ok {
		t.Errorf("got %+v", n)
	}
}
