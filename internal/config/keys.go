package config

import "strings"

// key is a key of the file.
type key struct {
	name     string
	required bool
	takes    string // what is allowed, for errors
}

const required, optional = true, false

// The keys of the file, map by map. example.yaml explains them.
var (
	clusterKeys = []key{
		{"cluster", required, "a name of 1 to 15 characters a-z, 0-9 and -, the first not -"},
		{"mode", required, "backend or gateway"},
		{"node", optional, "the id or the name of one of the nodes"},
		{"interfaces", required, "a list of 1 to 8 interfaces, each " + mapOf(interfaceKeys)},
		{"nodes", required, "a list of 1 to 64 nodes, each " + mapOf(nodeKeys)},
		{"hash", optional, mapOf(hashKeys)},
		{"action", optional, "drop, or " + mapOf(actionKeys)},
		{"lease", optional, "a duration from 30ms to 10s"},
		{"heartbeat", optional, "a duration from 5ms to a third of the lease"},
		{"heartbeat-interfaces", optional, "a list of up to 7 interfaces that are not under interfaces"},
		{"partition", optional, "available or majority"},
		{"witness", optional, takesAddress},
		{"key", optional, takesKey + ", or a list of the new and the old one"},
		{"key-file", optional, "the absolute path of a file with one or two keys, one per line"},
		{"udp", optional, "move or keep"},
		{"flows", optional, "none or conntrack"},
		{"drain", optional, "a duration from 0s to 720h"},
		{"health", optional, "a list of up to 32 checks, each " + mapOf(checkKeys)},
		{"all-unhealthy", optional, "keep or drop"},
	}
	checkKeys = []key{
		{"tcp", optional, takesTarget},
		{"http", optional, "a URL such as http://192.0.2.10/health or https://www.example.com/"},
		{"dns", optional, "a domain name"},
		{"exec", optional, "a list of the absolute path of a program and its arguments"},
		{"status", optional, `statuses of HTTP and ranges such as "200-299,304", or a list of them`},
		{"body", optional, "a text of 1 to 1024 bytes"},
		{"insecure", optional, "true or false"},
		{"type", optional, "A, AAAA, NS, CNAME, SOA, PTR, MX, TXT or SRV"},
		{"server", optional, takesTarget},
		{"interval", optional, "a duration from 50ms to 1h"},
		{"timeout", optional, "a duration from 10ms to 1m"},
		{"rise", optional, "a number from 1 to 100"},
		{"fall", optional, "a number from 1 to 100"},
		{"on-failure", optional, "leave, or " + mapOf(onFailureKeys)},
	}
	onFailureKeys = []key{
		{"weight", required, "a number from 1 to 1000"},
	}
	interfaceKeys = []key{
		{"name", required, "the name of a network interface: 1 to 15 characters without spaces, / and :"},
		{"side", optional, "client or server"},
		{"addresses", required, "a list of at least one cluster address"},
		{"l2", optional, "unicast, multicast or igmp"},
		{"mac", optional, "an Ethernet address such as 02:bf:c0:00:02:0a"},
		{"attach", optional, "auto, native, generic or tcx"},
	}
	nodeKeys = []key{
		{"id", required, "a number from 1 to 64"},
		{"name", optional, "a host name of up to 63 characters a-z, 0-9, - and ., not digits alone"},
		{"addresses", optional, "a list of the node's own addresses"},
		{"buckets", optional, `buckets and ranges such as "0-99,200,300-4095", or a list of them; [] for none`},
		{"serve", optional, "true or false"},
		{"weight", optional, "a number from 0 to 1000"},
	}
	hashKeys = []key{
		{"seed", optional, "a number from 0 to 0xffffffff"},
		{"buckets", optional, "a number from 1 to 65536"},
		{"affinity", optional, "client, network or flow"},
		{"ipv6", optional, "full or first-word"},
		{"key", optional, "side or original"},
	}
	actionKeys = []key{
		{"mark", required, "VALUE or VALUE/MASK, numbers from 0 to 0xffffffff"},
		{"foreign-mark", optional, "VALUE or VALUE/MASK, numbers from 0 to 0xffffffff"},
	}
)

const takesTarget = "a port of the first cluster address, or ADDRESS:PORT such as 192.0.2.10:80 or \"[2001:db8::10]:80\""

const takesKey = "a text of 16 to 256 characters without spaces at its ends"

const takesAddress = "a plain unicast address such as 192.0.2.10 or 2001:db8::10"

func mapOf(keys []key) string { return "a map of the keys " + names(keys) }

func names(keys []key) string {
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = k.name
	}
	return strings.Join(all, ", ")
}
