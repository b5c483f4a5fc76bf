package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-net/shoal/internal/config"
)

func TestConfigExample(t *testing.T) {
	status, stdout, stderr := runConfig("config", "example")
	if status != 0 || stdout != config.Example || stderr != "" {
		t.Errorf("status %d, standard error %q, output:\n%s", status, stderr, stdout)
	}
}

func TestConfigCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.yaml")
	text := strings.Replace(config.Example, "\naction: drop", "\naction: {mark: 0xffff, foreign-mark: 0x10000/0x10000}", 1)
	text = strings.Replace(text, "\nflows: none", "\nflows: conntrack", 1) + `health:
  - tcp: 80
  - {http: https://www.example.com/health, status: [200, 300-399], body: all is well, insecure: true}
  - {exec: [/usr/local/lib/check-web, --quick], timeout: 5s, on-failure: {weight: 20}}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := runConfig("config", "check", path, "--node", "beta")
	if status != 0 || stderr != "" {
		t.Errorf("status %d, standard error %q", status, stderr)
	}
	want := `cluster web: gateway, 4096 buckets by client, seed 0xdeadbeef
action mark 0xffff/0xffffffff, foreign-mark 0x10000/0x10000, lease 100ms
heartbeat 20ms, partition majority, NO KEY
flows stay while their buckets move, UDP too, for up to 1h0m0s
this node: 2 beta

INTERFACE  SIDE    L2       MAC                ATTACH  ADDRESSES
eth1       client  unicast  02:bf:c0:00:02:0a  auto    192.0.2.10 2001:db8::10
eth2       server  unicast  02:bf:c6:33:64:0a  auto    198.51.100.10

NODE  NAME   WEIGHT      SHARE  ADDRESSES
1     alpha  100         40.0%  192.0.2.1 198.51.100.1 fe80::1
2     beta   100         40.0%  192.0.2.2 198.51.100.2 fe80::2
3     gamma  50          20.0%  192.0.2.3 198.51.100.3
4     delta  votes only  0.0%   192.0.2.4 198.51.100.4

INTERVAL  TIMEOUT  RISE  FALL  ON FAILURE  CHECK
1s        1s       2     3     leave       tcp 192.0.2.10:80
1s        1s       2     3     leave       https://www.example.com/health at 192.0.2.10:443: 200,300-399 with "all is well", any certificate
1s        5s       2     3     weight 20   exec /usr/local/lib/check-web --quick
while all nodes are unhealthy: keep
`
	if diff := cmp.Diff(want, stdout); diff != "" {
		t.Error(diff)
	}
}

func TestConfigRefused(t *testing.T) {
	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	if err := os.WriteFile(wrong, []byte("cluster: web\nmode: router\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string // standard error begins with it
	}{
		{[]string{"check", wrong}, "shoal: 3 errors in the configuration\n" + wrong + ":1:1: interfaces is missing;"},
		{[]string{"check", wrong + ".none"}, "shoal: read the configuration: open " + wrong + ".none: no such file"},
		{[]string{"check", wrong, wrong}, "shoal: accepts at most 1 arg(s), received 2"},
		{[]string{"check", "--nod", "1", wrong}, "shoal: unknown flag: --nod"},
		{[]string{"example", wrong}, "shoal: unknown command"},
		{[]string{"chek"}, "shoal: unknown command"},
	} {
		status, stdout, stderr := runConfig(append([]string{"config"}, tt.args...)...)
		if status != exitUsage || stdout != "" || !strings.HasPrefix(stderr, tt.want) {
			t.Errorf("%q: status %d, output %q, standard error:\n%s\nwant status %d and %q",
				tt.args, status, stdout, stderr, exitUsage, tt.want)
		}
	}
}

func runConfig(args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = Run(context.Background(), &Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}, args)
	return status, out.String(), errs.String()
}
