package cluster

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseMAC(t *testing.T) {
	want := MAC{0x02, 0xbf, 0xc0, 0x00, 0x02, 0x0a}
	for _, s := range []string{"02:bf:c0:00:02:0a", "02:BF:C0:00:02:0A", "02-bf-c0-00-02-0a", "02bf.c000.020a"} {
		if got, err := ParseMAC(s); err != nil || got != want {
			t.Errorf("%q: got %s, %v, want %s", s, got, err, want)
		}
	}
	if got := want.String(); got != "02:bf:c0:00:02:0a" {
		t.Errorf("got %s", got)
	}
	for _, s := range []string{"", "02", "02:bf:c0:00:02", "02:bf:c0:00:02:0a:01:02", "02:bf:c0:00:02:xx", "192.0.2.10"} {
		if got, err := ParseMAC(s); err == nil || !strings.Contains(err.Error(), "is not an Ethernet address") {
			t.Errorf("%q: got %s, %v, want an error", s, got, err)
		}
	}
}

func TestDefaultMAC(t *testing.T) {
	for _, tt := range []struct {
		l2   L2
		addr string
		want string
	}{
		{Unicast, "192.0.2.10", "02:bf:c0:00:02:0a"},
		{Multicast, "192.0.2.10", "03:bf:c0:00:02:0a"},
		{IGMP, "192.0.2.10", "01:00:5e:7f:02:0a"},
		{IGMP, "192.0.255.254", "01:00:5e:7f:ff:fe"},
		{Unicast, "2001:db8::1:203:405", "02:bf:02:03:04:05"},
		{Multicast, "2001:db8::1:203:405", "03:bf:02:03:04:05"},
		{IGMP, "2001:db8::1:203:405", "01:00:5e:7f:04:05"},
	} {
		got := DefaultMAC(tt.l2, netip.MustParseAddr(tt.addr))
		if got.String() != tt.want {
			t.Errorf("%s, %s: got %s, want %s", tt.l2, tt.addr, got, tt.want)
		}
		if err := CheckMAC(tt.l2, got); err != nil {
			t.Errorf("%s, %s: the default is refused: %v", tt.l2, tt.addr, err)
		}
	}
}

func TestCheckMAC(t *testing.T) {
	for _, tt := range []struct {
		l2   L2
		mac  string
		want string // part of the error; empty: accepted
	}{
		{Unicast, "02:00:00:00:00:01", ""},
		{Unicast, "fe:ff:ff:ff:ff:ff", ""},
		{Unicast, "00:16:3e:00:00:01", "is not locally administered; l2: unicast"},
		{Unicast, "00:00:00:00:00:00", "is not locally administered; l2: unicast"},
		{Unicast, "01:00:5e:00:01:01", "is a multicast address; l2: unicast"},
		{Unicast, "03:bf:c0:00:02:0a", "is a multicast address; l2: unicast"},
		{Unicast, "ff:ff:ff:ff:ff:ff", "is the broadcast address"},
		{Multicast, "03:bf:c0:00:02:0a", ""},
		{Multicast, "01:00:5e:00:01:01", ""},
		{Multicast, "02:bf:c0:00:02:0a", "is a unicast address; l2: multicast"},
		{Multicast, "00:16:3e:00:00:01", "is a unicast address; l2: multicast"},
		{Multicast, "ff:ff:ff:ff:ff:ff", "is the broadcast address"},
		{IGMP, "01:00:5e:7f:00:00", ""},
		{IGMP, "01:00:5e:7f:ff:ff", ""},
		{IGMP, "01:00:5e:7e:02:0a", "is not 01:00:5e:7f:y:z; l2: igmp"},
		{IGMP, "03:bf:c0:00:02:0a", "is not 01:00:5e:7f:y:z; l2: igmp"},
		{IGMP, "02:bf:c0:00:02:0a", "is not 01:00:5e:7f:y:z; l2: igmp"},
		{IGMP, "ff:ff:ff:ff:ff:ff", "is the broadcast address"},
	} {
		mac, err := ParseMAC(tt.mac)
		if err != nil {
			t.Fatal(err)
		}
		err = CheckMAC(tt.l2, mac)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s, %s: %v", tt.l2, tt.mac, err)
		case tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.mac) || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s, %s: got %v, want an error with %q", tt.l2, tt.mac, err, tt.want)
		}
	}
}

func TestGroups(t *testing.T) {
	mac := DefaultMAC(IGMP, netip.MustParseAddr("192.0.2.10"))
	v4, v6 := GroupIPv4(mac), GroupIPv6(mac)
	if got := v4.String(); got != "239.255.2.10" {
		t.Errorf("IPv4: got %s", got)
	}
	if want := netip.MustParseAddr("ff15::efff:20a"); v6 != want {
		t.Errorf("IPv6: got %s, want %s", v6, want)
	}
	// RFC 1112, 6.4: the MAC of an IPv4 group is 01:00:5e and its last 23 bits.
	b := v4.As4()
	if want := (MAC{0x01, 0x00, 0x5e, b[1] & 0x7f, b[2], b[3]}); mac != want {
		t.Errorf("the group's MAC is %s, the cluster's %s", want, mac)
	}
}
