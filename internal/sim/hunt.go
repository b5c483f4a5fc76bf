package sim

import (
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// Report is what a number of schedules came to.
type Report struct {
	Schedules int
	Events    int
	Virtual   time.Duration // time that passed in them
	Real      time.Duration // it took
	Workers   int
	Worst     float64   // longest failover, as a share of what is allowed
	Failures  []Failure // in no order
}

// Failure is a schedule that violated an invariant.
type Failure struct {
	Seed uint64
	What string
}

func (r *Report) String() string {
	return fmt.Sprintf("%d schedules, %d events, %v virtual in %v: %.0f schedules/s, %.0f times real time and %.0f ns per event on each of %d processors; longest failover %.0f %% of what is allowed",
		r.Schedules, r.Events, r.Virtual.Round(time.Second), r.Real.Round(time.Millisecond),
		float64(r.Schedules)/r.Real.Seconds(), r.Virtual.Seconds()/r.Real.Seconds()/float64(r.Workers),
		float64(r.Real.Nanoseconds())*float64(r.Workers)/float64(max(r.Events, 1)), r.Workers, 100*r.Worst)
}

// Hunt runs the schedules of some seeds until enough of them have failed.
func Hunt(first uint64, schedules, workers, enough int) *Report {
	r := &Report{Workers: workers}
	defer debug.SetGCPercent(debug.SetGCPercent(800)) // worlds are small and short-lived
	begun := time.Now()
	var lock sync.Mutex
	var wait sync.WaitGroup
	next := 0
	for range workers {
		wait.Go(func() {
			for {
				lock.Lock()
				seed := first + uint64(next)
				next++
				over := next > schedules || len(r.Failures) >= enough
				lock.Unlock()
				if over {
					return
				}
				s := Random(seed)
				w := s.Run(nil)
				lock.Lock()
				r.add(seed, w)
				lock.Unlock()
			}
		})
	}
	wait.Wait()
	r.Real = time.Since(begun)
	return r
}

func (r *Report) add(seed uint64, w *World) {
	r.Schedules++
	r.Events += w.steps
	r.Virtual += time.Duration(w.now)
	r.Worst = max(r.Worst, float64(w.oracle.worst)/float64(w.bound()))
	if w.failure != "" {
		r.Failures = append(r.Failures, Failure{seed, w.failure})
	}
}

// Shortest shrinks a few failures of each kind and returns the shortest
// schedule of each.
func (r *Report) Shortest(few int) map[string]*Schedule {
	shortest, tried := map[string]*Schedule{}, map[string]int{}
	for _, f := range r.Failures {
		what := kindOf(f.What)
		if tried[what]++; tried[what] > few {
			continue
		}
		failed := Random(f.Seed)
		if s := failed.Shrink(); shortest[what] == nil || len(s.Lines) < len(shortest[what].Lines) {
			shortest[what] = s
		}
	}
	return shortest
}
