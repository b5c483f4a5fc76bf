package health

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/shoal-net/shoal/internal/cluster"
)

var (
	epoch      = time.Unix(1e9, 0)
	errRefused = errors.New("connection refused")
)

func check(rise, fall int) cluster.Check {
	return cluster.Check{Target: netip.MustParseAddrPort("192.0.2.10:80"), Interval: time.Second, Timeout: time.Second, Rise: rise, Fall: fall}
}

// run feeds results, one a second, + passing and - failing, and returns what
// the check was after each: P passing, F failing, ? unknown.
func run(tr *track, results string) string {
	var after strings.Builder
	for i, r := range results {
		var err error
		if r == '-' {
			err = errRefused
		}
		before := tr.phase
		if changed := tr.observe(epoch.Add(time.Duration(i)*time.Second), err); changed != (tr.phase != before) {
			after.WriteByte('!')
		}
		after.WriteByte("?PF"[tr.phase])
	}
	return after.String()
}

func TestRiseAndFall(t *testing.T) {
	for _, tt := range []struct {
		name       string
		rise, fall int
		results    string
		want       string
	}{
		{"the first success counts", 2, 3, "+", "P"},
		{"at first one success is enough", 2, 3, "--+", "??P"},
		{"at first three failures, too", 2, 3, "---", "??F"},
		{"falls after three", 2, 3, "+---", "PPPF"},
		{"a success in between", 2, 3, "+--+--+---", "PPPPPPPPPF"},
		{"rises after two", 2, 1, "-++", "FFP"},
		{"a failure in between", 2, 1, "-+-+-++", "FFFFFFP"},
		{"falls and rises at once", 1, 1, "+-+", "PFP"},
		{"counts begin anew", 2, 2, "+--++-+--", "PPFFPPPPF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := run(&track{check: check(tt.rise, tt.fall)}, tt.results); got != tt.want {
				t.Errorf("%s: got %s, want %s", tt.results, got, tt.want)
			}
		})
	}
}

// A check that comes and goes has to pass for 10 s, 20 s, … up to 5 minutes;
// after ten good minutes it has a clean slate.
func TestDamping(t *testing.T) {
	tr := &track{check: check(1, 1)}
	now := epoch
	tr.observe(now, nil)
	recovery := func() time.Duration {
		now = now.Add(time.Second)
		if !tr.observe(now, errRefused) {
			t.Fatalf("at %s: did not fall", now.Sub(epoch))
		}
		now = now.Add(time.Second)
		for since := now; ; now = now.Add(time.Second) {
			if tr.observe(now, nil) {
				return now.Sub(since)
			}
		}
	}
	var got []string
	for range 8 {
		got = append(got, recovery().String())
	}
	want := []string{"0s", "10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	now = now.Add(calm - 2*time.Second)
	tr.observe(now, nil)
	if got := recovery(); got != maxHold {
		t.Errorf("a second short of calm: got %s, want %s", got, maxHold)
	}
	now = now.Add(calm - time.Second)
	tr.observe(now, nil)
	if got := recovery(); got != 0 {
		t.Errorf("after calm: got %s, want 0", got)
	}
}

// A failure while a check is held down begins its time anew.
func TestHoldBeginsAnew(t *testing.T) {
	tr := &track{check: check(1, 1)}
	got := run(tr, "+-+-"+strings.Repeat("+", 9)+"-"+strings.Repeat("+", 11))
	want := "PFPF" + strings.Repeat("F", 9) + "F" + strings.Repeat("F", 10) + "P"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Whatever a service does, its buckets move few times.
func TestFlappingIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := &track{check: check(rapid.IntRange(1, 3).Draw(t, "rise"), rapid.IntRange(1, 3).Draw(t, "fall"))}
		runs := rapid.SliceOfN(rapid.IntRange(1, 700), 1, 400).Draw(t, "runs")
		now, falls := epoch, []time.Time{}
		for i, n := range runs {
			for range n {
				var err error
				if i%2 == 1 {
					err = errRefused
				}
				if now = now.Add(time.Second); tr.observe(now, err) && err != nil {
					falls = append(falls, now)
				}
			}
		}
		// Between two calms, in ten minutes and a little, at most six falls come
		// before the hold is at its longest; after that each takes five minutes.
		const most = 40
		for i := most; i < len(falls); i++ {
			if took := falls[i].Sub(falls[i-most]); took < time.Hour {
				t.Fatalf("%d falls in %s", most, took)
			}
		}
	})
}

func TestReasons(t *testing.T) {
	tr := &track{check: check(1, 1)}
	tr.observe(epoch, errors.New("status 503"))
	if want := "tcp 192.0.2.10:80: status 503"; tr.because != want {
		t.Errorf("got %q, want %q", tr.because, want)
	}
	tr.check.Fall = 3
	run(tr, "+---")
	want := "tcp 192.0.2.10:80: connection refused (3 times), and has to pass for 10s now, since it fell 2 times of late"
	if tr.because != want {
		t.Errorf("got %q, want %q", tr.because, want)
	}
}

func TestJudge(t *testing.T) {
	at := func(p phase, weight int, because string) *track {
		c := check(1, 1)
		c.Weight = weight
		return &track{check: c, phase: p, because: because}
	}
	all := cluster.MaxWeight
	for _, tt := range []struct {
		name   string
		tracks []*track
		want   State
		known  bool
	}{
		{"no checks", nil, State{Healthy: true, Weight: all}, true},
		{"all pass", []*track{at(passing, 0, ""), at(passing, 20, "")}, State{Healthy: true, Weight: all}, true},
		{"one is unknown", []*track{at(failing, 0, "a"), at(unknown, 0, "")}, State{}, false},
		{"leave", []*track{at(passing, 0, ""), at(failing, 0, "a")}, State{Weight: all, Reason: "a"}, true},
		{"least weight", []*track{at(failing, 20, "a"), at(failing, 30, "b")}, State{Healthy: true, Weight: 20, Reason: "a; b"}, true},
		{"both", []*track{at(failing, 20, "a"), at(failing, 0, "b")}, State{Weight: 20, Reason: "a; b"}, true},
	} {
		got, known := judge(tt.tracks)
		if diff := cmp.Diff(tt.want, got); diff != "" || known != tt.known {
			t.Errorf("%s: known %t: %s", tt.name, known, diff)
		}
	}
}
