package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-net/shoal/internal/cluster"
)

// healthy is a right file with checks of each kind.
const healthy = `cluster: web
mode: backend
node: 1
interfaces:
  - {name: eth1, addresses: [192.0.2.10, "fe80::10"]}
nodes:
  - {id: 1, name: alpha, addresses: [192.0.2.1]}
  - {id: 2, name: beta, addresses: [192.0.2.2]}
udp: keep
drain: 10m
health:
  - tcp: 80
  - {tcp: "[fe80::10%eth1]:443", interval: 500ms, timeout: 1.5s, rise: 1, fall: 100, on-failure: leave}
  - http: https://www.example.com:8443/health?deep=1
    status: [200, 204, "300-302,304"]
    body: ok
    insecure: true
    on-failure: {weight: 20}
  - http: http://127.0.0.1/
  - dns: example.com
  - {dns: _sip._udp.example.com., type: SRV, server: 127.0.0.1:5353}
  - exec: [/bin/test, -e, "/run/ready"]
all-unhealthy: drop
`

func usual(c cluster.Check) cluster.Check {
	c.Interval, c.Timeout, c.Rise, c.Fall = time.Second, time.Second, 2, 3
	return c
}

func TestHealth(t *testing.T) {
	c, err := Parse("f", []byte(healthy), Options{})
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort
	anyStatus := []cluster.Range{{First: 200, Last: 399}}
	deep := usual(cluster.Check{Kind: cluster.CheckHTTP, URL: "https://www.example.com:8443/health?deep=1", Target: at("192.0.2.10:8443"),
		Status: []cluster.Range{{First: 200, Last: 200}, {First: 204, Last: 204}, {First: 300, Last: 302}, {First: 304, Last: 304}},
		Body:   "ok", Insecure: true, Weight: 20})
	want := cluster.Health{AllUnhealthy: cluster.UnhealthyDrop, Checks: []cluster.Check{
		usual(cluster.Check{Kind: cluster.CheckTCP, Target: at("192.0.2.10:80")}),
		{Kind: cluster.CheckTCP, Target: at("[fe80::10%eth1]:443"),
			Interval: 500 * time.Millisecond, Timeout: 1500 * time.Millisecond, Rise: 1, Fall: 100},
		deep,
		usual(cluster.Check{Kind: cluster.CheckHTTP, URL: "http://127.0.0.1/", Target: at("127.0.0.1:80"), Status: anyStatus}),
		usual(cluster.Check{Kind: cluster.CheckDNS, Name: "example.com.", Target: at("192.0.2.10:53")}),
		usual(cluster.Check{Kind: cluster.CheckDNS, Name: "_sip._udp.example.com.", Type: cluster.TypeSRV, Target: at("127.0.0.1:5353")}),
		usual(cluster.Check{Kind: cluster.CheckExec, Command: []string{"/bin/test", "-e", "/run/ready"}}),
	}}
	equalCheck := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
	if diff := cmp.Diff(want, c.Health, equalCheck); diff != "" {
		t.Error(diff)
	}
	if want := (cluster.Handover{UDP: cluster.UDPKeep, Drain: 10 * time.Minute}); c.Handover != want {
		t.Errorf("got %+v, want %+v", c.Handover, want)
	}
}

// A link-local cluster address is asked on its own link.
func TestHealthLinkLocal(t *testing.T) {
	text := strings.Replace(healthy, `192.0.2.10, "fe80::10"`, `"fe80::10", 192.0.2.10`, 1)
	c, err := Parse("f", []byte(text), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Health.Checks[0].Target, netip.MustParseAddrPort("[fe80::10%eth1]:80"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFlows(t *testing.T) {
	text := strings.Replace(correct, `    buckets: "0-2047"`+"\n", "", 1)
	text = strings.Replace(text, "name: beta}", "name: beta, addresses: [192.0.2.2]}", 1)
	for add, want := range map[string]cluster.Handover{
		"":                                {Drain: time.Hour},
		"flows: none\ndrain: 0s\n":        {},
		"flows: conntrack\ndrain: 720h\n": {Flows: cluster.FlowsConntrack, Drain: 720 * time.Hour},
	} {
		c, err := Parse("f", []byte(text+add), Options{})
		if err != nil {
			t.Errorf("%q: %v", add, err)
		} else if c.Handover != want {
			t.Errorf("%q: got %+v, want %+v", add, c.Handover, want)
		}
	}
	errs := parseErrors(t, text+"udp: move\n")
	want := "f:25:6: udp: udp is for mode: backend; in a gateway, flows says what becomes of UDP, too"
	if got := errs[0].Error(); len(errs) != 1 || !strings.HasPrefix(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

const aTarget = "; it takes a port of the first cluster address, or ADDRESS:PORT"

var healthFaults = []fault{
	{"udp: keep", "udp: drop", `9:6: udp: "drop" is none of move, keep`},
	{"udp: keep", "flows: none", `9:8: flows: flows is for mode: gateway; a backend knows its flows by its sockets`},
	{"drain: 10m", "drain: -1s", `10:8: drain: "-1s" is out of range; it takes a duration from 0s to 720h`},
	{"drain: 10m", "drain: 721h", `10:8: drain: "721h" is out of range`},
	{"drain: 10m", "drain: never", `10:8: drain: "never" is not a duration`},
	{"all-unhealthy: drop", "all-unhealthy: panic", `23:16: all-unhealthy: "panic" is none of keep, drop`},

	{"- tcp: 80", "- {tcp: 80, raise: 2}", `12:15: health[0]: "raise" is not a key here; the keys are tcp, http, dns, exec, status,`},
	{"- tcp: 80", "- 80", `12:5: health[0]: "80" is a number (quoted, it is text); it takes a map of the keys tcp, http,`},
	{"- tcp: 80", "- rise: 3", `12:5: health[0]: what to ask is missing; a check takes one of tcp, http, dns, exec`},
	{"- tcp: 80", "- {dns: a.example, tcp: 80}", `12:11: health[0].dns: health[0].dns beside health[0].tcp; a check asks one thing: make it two checks`},
	{"- tcp: 80", "- {tcp: 80, body: ok}", `12:21: health[0].body: body is for http checks`},
	{"dns: example.com\n", "dns: example.com\n    status: 200\n", `21:13: health[4].status: status is for http checks`},
	{"body: ok", "server: 53", `16:13: health[2].server: server is for dns checks`},

	{"tcp: 80", "tcp: 0", `12:10: health[0].tcp: "0" is not a port` + aTarget},
	{"tcp: 80", "tcp: 65536", `12:10: health[0].tcp: "65536" is not a port`},
	{"tcp: 80", "tcp: 080", `12:10: health[0].tcp: "080" is not a port`},
	{"tcp: 80", "tcp: http", `12:10: health[0].tcp: "http" is no port and no ADDRESS:PORT` + aTarget},
	{"tcp: 80", "tcp: www.example.com:80", `12:10: health[0].tcp: "www.example.com:80" is no port and no ADDRESS:PORT`},
	{"tcp: 80", "tcp: 192.0.2.10", `12:10: health[0].tcp: "192.0.2.10" is no port and no`},
	{"tcp: 80", "tcp: 192.0.2.10:0", `12:10: health[0].tcp: "192.0.2.10:0" has no port`},
	{"tcp: 80", "tcp: 0.0.0.0:80", `12:10: health[0].tcp: "0.0.0.0:80" is the unspecified address`},
	{"tcp: 80", "tcp: [80]", `12:10: health[0].tcp: is a list`},
	{"[fe80::10%eth1]:443", "[fe80::10]:443", `13:11: health[1].tcp: "[fe80::10]:443" is a link-local address: name its interface, as in fe80::10%eth1`},
	{"[fe80::10%eth1]:443", "[2001:db8::1%eth1]:443", `13:11: health[1].tcp: "[2001:db8::1%eth1]:443" has a zone`},
	{"[fe80::10%eth1]:443", "[ff02::1]:443", `13:11: health[1].tcp: "[ff02::1]:443" is a multicast address`},
	{"[fe80::10%eth1]:443", "[::1%lo]:443", `13:11: health[1].tcp: "[::1%lo]:443" has a zone`},

	{"http://127.0.0.1/", "/health", `19:11: health[3].http: "/health" is not a URL; it takes a URL such as http://`},
	{"http://127.0.0.1/", "ftp://127.0.0.1/", `19:11: health[3].http: "ftp://127.0.0.1/" is not a URL`},
	{"http://127.0.0.1/", "http:///health", `19:11: health[3].http: "http:///health" is not a URL`},
	{"http://127.0.0.1/", "http://a:b@127.0.0.1/", `19:11: health[3].http: "http://a:b@127.0.0.1/" has a user name: leave it out`},
	{"http://127.0.0.1/", "http://127.0.0.1:0/", `19:11: health[3].http: "http://127.0.0.1:0/" is not a port`},
	{"http://127.0.0.1/", "http://exa*mple/", `19:11: health[3].http: "http://exa*mple/" has neither a host's name nor an address`},
	{"http://127.0.0.1/", "http://[::]/", `19:11: health[3].http: "http://[::]/" is the unspecified address`},
	{"http://127.0.0.1/", "http://127.0.0.1/\n    insecure: true", `20:15: health[3].insecure: insecure is for https:// URLs`},
	{"insecure: true", "insecure: maybe", `17:15: health[2].insecure: "maybe" is text; it takes true or false`},
	{"[200, 204,", "[99, 204,", `15:14: health[2].status[0]: "99": 99 is out of range; the statuses of HTTP are 100-599`},
	{`"300-302,304"`, `300-600`, `15:24: health[2].status[2]: "300-600": 300-600 is out of range`},
	{`"300-302,304"`, `302-300`, `15:24: health[2].status[2]: "302-300": 302-300 ends before it begins`},
	{`"300-302,304"`, `ok`, `15:24: health[2].status[2]: "ok" is not a list of statuses`},
	{`[200, 204, "300-302,304"]`, `[]`, `15:13: health[2].status: is empty; it takes statuses of HTTP`},
	{"body: ok", `body: ""`, `16:11: health[2].body: "" is too short or too long; it takes a text of 1 to 1024 bytes`},

	{"dns: example.com", "dns: exa mple.com", `20:10: health[4].dns: "exa mple.com" is not a domain name`},
	{"dns: example.com", "dns: example..com", `20:10: health[4].dns: "example..com" is not a domain name`},
	{"dns: example.com", "dns: " + strings.Repeat("a", 64) + ".com", `20:10: health[4].dns: "` + strings.Repeat("a", 64) + `.com" is not a domain name`},
	{"dns: example.com", "dns: " + strings.Repeat("a.", 127) + "a", `20:10: health[4].dns: `},
	{"type: SRV", "type: ANY", `21:41: health[5].type: "ANY" is none of A, AAAA,`},
	{"127.0.0.1:5353", "localhost", `21:54: health[5].server: "localhost" is no port and no ADDRESS:PORT`},

	{"[/bin/test, -e,", "[test, -e,", `22:12: health[6].exec[0]: "test" is not an absolute path: the agent looks nowhere for programs`},
	{"[/bin/test, -e,", "[/bin/test, 7,", `22:23: health[6].exec[1]: "7" is a number (quoted, it is text)`},
	{`[/bin/test, -e, "/run/ready"]`, "/bin/true", `22:11: health[6].exec: "/bin/true" is text; it takes a list of the absolute path`},
	{`[/bin/test, -e, "/run/ready"]`, "[]", `22:11: health[6].exec: is empty`},

	{"interval: 500ms", "interval: 49ms", `13:44: health[1].interval: "49ms" is out of range; it takes a duration from 50ms to 1h`},
	{"timeout: 1.5s", "timeout: 61s", `13:60: health[1].timeout: "61s" is out of range; it takes a duration from 10ms to 1m`},
	{"rise: 1", "rise: 0", `13:72: health[1].rise: "0" is out of range; it takes a number from 1 to 100`},
	{"fall: 100", "fall: 101", `13:81: health[1].fall: "101" is out of range`},
	{"on-failure: leave", "on-failure: stop", `13:98: health[1].on-failure: "stop" is nothing to do; it takes leave, or a map of the keys weight`},
	{"{weight: 20}", "{weight: 0}", `18:26: health[2].on-failure.weight: "0" is out of range; it takes a number from 1 to 1000`},
	{"{weight: 20}", "{}", `18:17: health[2].on-failure: weight is missing`},
	{"{weight: 20}", "[20]", `18:17: health[2].on-failure: is a list`},
}

func TestHealthFaults(t *testing.T) { checkFaults(t, healthy, healthFaults) }

func TestTooManyChecks(t *testing.T) {
	text := minimal + "    addresses: [192.0.2.1]\nhealth:\n" + strings.Repeat("  - tcp: 80\n", cluster.MaxChecks)
	if _, err := Parse("f", []byte(text), Options{Node: "1"}); err != nil {
		t.Error(err)
	}
	_, err := Parse("f", []byte(text+"  - tcp: 80\n"), Options{Node: "1"})
	want := fmt.Sprintf("element %d of %d; at most %d are allowed", cluster.MaxChecks+1, cluster.MaxChecks+1, cluster.MaxChecks)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Where the table is static nobody takes over, and no bucket moves.
func TestStaticTakesNoHealth(t *testing.T) {
	for _, line := range []string{"udp: keep", "drain: 1h", "health: []", "all-unhealthy: keep"} {
		_, err := Parse("f", []byte(minimal+line+"\n"), Options{Node: "1"})
		key, _, _ := strings.Cut(line, ":")
		var errs Errors
		if !errors.As(err, &errs) || !strings.HasPrefix(errs[0].Message, key+" is for nodes that know each other") {
			t.Errorf("%s: got %v", line, err)
		}
	}
}
