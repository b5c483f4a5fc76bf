package archtest

// What a package may import from outside the module.
type outside int

const (
	stdlib    outside = iota // pure: decisions, no effects
	libraries                // effects, by way of the module's dependencies
)

// anything, as the only import of a row, lifts the rule: tests and benchmarks
// of the whole.
const anything = "..."

// rule is a row of the table. Imports that only tests need are not looked at.
type rule struct {
	path    string // within the module
	outside outside
	imports []string // packages of the module
}

func imports(paths ...string) []string { return paths }

// rules says who may import whom. Arrows point down: a package imports only
// what stands above it here. Pure packages first, then adapters, each of which
// brings one part of the outside world to them and knows no other adapter, then
// what puts them together. A new package takes a row; a row for a package that
// does not exist is no error.
var rules = []rule{
	{"match", stdlib, nil},
	{"internal/cluster", stdlib, imports("match")},
	{"internal/share", stdlib, imports("internal/cluster")},
	{"internal/member", stdlib, imports("internal/share")},
	{"internal/wire", stdlib, imports("internal/member")},
	{"internal/sim", stdlib, imports("internal/member")},

	{"internal/capture", libraries, imports("match")},
	{"internal/config", libraries, imports("match", "internal/cluster", "internal/share")},
	{"internal/dataplane", libraries, imports("match", "internal/cluster", "internal/share")},
	{"internal/flows", libraries, imports("match", "internal/cluster")},
	{"internal/netdev", libraries, imports("internal/cluster")},
	{"internal/transport", libraries, imports("internal/cluster")},
	{"internal/health", libraries, imports("internal/cluster")},
	{"internal/control", libraries, nil},

	{"internal/lab", libraries, imports("match", "internal/cluster", "internal/share")},
	{"internal/heartbeat", libraries, imports("internal/cluster", "internal/member", "internal/wire",
		"internal/dataplane", "internal/transport")},
	{"internal/agent", libraries, imports("match", "internal/cluster", "internal/share", "internal/member",
		"internal/dataplane", "internal/flows", "internal/health", "internal/netdev", "internal/control", "internal/heartbeat")},
	{"internal/cli", libraries, imports("match", "internal/cluster", "internal/share",
		"internal/capture", "internal/config", "internal/lab", "internal/agent", "internal/heartbeat")},
	{"cmd/shoal", stdlib, imports("internal/cli")},

	{"internal/archtest", stdlib, nil},
	{"test/e2e", libraries, imports(anything)},
	{"test/failover", libraries, imports(anything)},
	{"test/handover", libraries, imports(anything)},
	{"test/nginx", libraries, imports("internal/lab")},
	{"test/soak", libraries, imports(anything)},
	{"bench", libraries, imports(anything)},
}

// owners says which packages alone import a library, so that what it does has
// one place.
var owners = map[string][]string{
	"github.com/cilium/ebpf":       {"internal/dataplane", "test/e2e", "bench"},
	"github.com/goccy/go-yaml":     {"internal/config"},
	"github.com/gopacket/gopacket": {"internal/capture", "test/e2e", "bench"},
	"github.com/spf13/cobra":       {"internal/cli"},
	"github.com/google/nftables":   {"internal/netdev", "internal/lab", "test/e2e", "test/handover", "bench"},
	"github.com/coreos/go-systemd": {"internal/cli"},
	"gonum.org/v1/plot":            {"bench"},
}

// longest is the number of lines that a file of Go or C may have. Tests, which
// hold tables, and generated files may be longer.
const longest = 400
