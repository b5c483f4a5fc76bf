package health

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-net/shoal/internal/cluster"
)

// service is what a fake probe finds.
type service struct {
	fails atomic.Bool
	takes atomic.Int64 // a time.Duration
	asked atomic.Int64
}

func (s *service) ask(ctx context.Context) error {
	s.asked.Add(1)
	select {
	case <-time.After(time.Duration(s.takes.Load())):
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.fails.Load() {
		return errRefused
	}
	return nil
}

// watchServices watches services with a check each, which take as long as is
// given, in a bubble of its own time.
func watchServices(t *testing.T, checks []cluster.Check, takes []time.Duration, test func(states <-chan State, services []*service)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var services []*service
		states := watch(ctx, checks, func(cluster.Check) probe {
			s := new(service)
			s.takes.Store(int64(takes[len(services)]))
			services = append(services, s)
			return s.ask
		})
		test(states, services)
		cancel()
		for range states { // until all is over
		}
	})
}

func expect(t *testing.T, states <-chan State, after time.Duration, want State) {
	t.Helper()
	start := time.Now()
	select {
	case got := <-states:
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if took := time.Since(start); took != after {
			t.Errorf("came after %s, want %s", took, after)
		}
	case <-time.After(time.Hour):
		t.Fatal("no state came")
	}
}

func quiet(t *testing.T, states <-chan State, d time.Duration) {
	t.Helper()
	select {
	case got := <-states:
		t.Errorf("got %+v", got)
	case <-time.After(d):
	}
}

var healthy = State{Healthy: true, Weight: cluster.MaxWeight}

func TestWatch(t *testing.T) {
	slow := check(1, 1)
	slow.Interval, slow.Timeout, slow.Weight = 10*time.Second, 5*time.Second, 50
	watchServices(t, []cluster.Check{check(2, 3), slow}, []time.Duration{0, 2 * time.Second}, func(states <-chan State, s []*service) {
		expect(t, states, 2*time.Second, healthy) // when the slow one has answered, too
		time.Sleep(500 * time.Millisecond)
		s[0].fails.Store(true)
		expect(t, states, 2500*time.Millisecond, State{Weight: cluster.MaxWeight,
			Reason: "tcp 192.0.2.10:80: connection refused (3 times)"})
		quiet(t, states, 500*time.Millisecond)
		s[0].fails.Store(false)
		expect(t, states, 1500*time.Millisecond, healthy)
		s[1].takes.Store(int64(time.Hour))
		expect(t, states, 8*time.Second, State{Healthy: true, Weight: 50, Reason: "tcp 192.0.2.10:80: no answer within 5s"})
	})
}

func TestWatchWithoutChecks(t *testing.T) {
	watchServices(t, nil, nil, func(states <-chan State, _ []*service) {
		expect(t, states, 0, healthy)
		quiet(t, states, time.Hour)
	})
}

// A receiver that is late gets how things are now.
func TestWatchLate(t *testing.T) {
	watchServices(t, []cluster.Check{check(1, 1)}, []time.Duration{0}, func(states <-chan State, s []*service) {
		synctest.Wait()
		s[0].fails.Store(true)
		time.Sleep(5500 * time.Millisecond)
		s[0].fails.Store(false)
		time.Sleep(5 * time.Second)
		expect(t, states, 0, healthy)
		quiet(t, states, time.Minute)
	})
}

func TestInterval(t *testing.T) {
	for takes, want := range map[time.Duration]int64{0: 100, 400 * time.Millisecond: 100, 2 * time.Second: 50} {
		c := check(1, 1)
		c.Timeout = time.Minute
		watchServices(t, []cluster.Check{c}, []time.Duration{takes}, func(_ <-chan State, s []*service) {
			time.Sleep(99*time.Second + 500*time.Millisecond)
			if got := s[0].asked.Load(); got != want {
				t.Errorf("a check that takes %s was begun %d times in 100 s, want %d", takes, got, want)
			}
		})
	}
}

// A check that is cut short by the end is nobody's failure.
func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := false
		states := watch(ctx, []cluster.Check{check(1, 1)}, func(cluster.Check) probe {
			return func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(time.Minute) // to clear up
				ended = true
				return errors.New("cut short")
			}
		})
		synctest.Wait()
		cancel()
		for s := range states {
			t.Errorf("got %+v", s)
		}
		if !ended {
			t.Error("the channel was closed before the check had ended")
		}
	})
}
