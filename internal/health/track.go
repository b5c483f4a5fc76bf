package health

import (
	"fmt"
	"strings"
	"time"

	"github.com/shoal-net/shoal/internal/cluster"
)

// Damping: a check that passes and fails in turns has to pass for longer each
// time before that counts, as moving its buckets to and fro would do more harm
// than to leave them with the others.
const (
	minHold = 10 * time.Second // after the second fall; twice as long after each one more
	maxHold = 5 * time.Minute
	// calm is how long a check has to pass for its falls to be forgotten.
	calm = 10 * time.Minute
)

type phase uint8

const (
	unknown phase = iota // no success yet, and too few failures
	passing
	failing
)

// track is what has become of one check. It takes Fall failures in a row to make
// it fail, and Rise successes in a row that last for its hold to make it pass
// again. At first one success is enough.
type track struct {
	check   cluster.Check
	phase   phase
	streak  int       // results in a row, up to now, that contradict the phase
	since   time.Time // of the first of them
	falls   int       // since it last was calm
	passes  time.Time // when it began to pass
	because string    // it fails
}

func newTracks(checks []cluster.Check) []*track {
	tracks := make([]*track, len(checks))
	for i, c := range checks {
		tracks[i] = &track{check: c}
	}
	return tracks
}

// observe takes a result, nil being a success, and reports whether the check
// changed.
func (t *track) observe(now time.Time, err error) bool {
	if t.phase == passing && err == nil || t.phase == failing && err != nil {
		t.streak = 0
		return false
	}
	if t.streak == 0 {
		t.since = now
	}
	t.streak++
	switch {
	case err != nil && t.streak >= t.check.Fall:
		t.fall(now, err)
	case err == nil && (t.streak >= t.check.Rise && now.Sub(t.since) >= t.hold() || t.phase == unknown):
		t.phase, t.passes, t.because = passing, now, ""
	default:
		return false
	}
	t.streak = 0
	return true
}

func (t *track) fall(now time.Time, err error) {
	if t.phase == passing && now.Sub(t.passes) >= calm {
		t.falls = 0
	}
	t.phase = failing
	t.falls++
	t.because = fmt.Sprintf("%s: %s", t.check, words(err, t.check.Timeout))
	if t.streak > 1 {
		t.because += fmt.Sprintf(" (%d times)", t.streak)
	}
	if hold := t.hold(); hold > 0 {
		t.because += fmt.Sprintf(", and has to pass for %s now, since it fell %d times of late", hold, t.falls)
	}
}

// hold is how long a check that fails has to pass before that counts.
func (t *track) hold() time.Duration {
	if t.falls < 2 {
		return 0
	}
	hold := minHold
	for range t.falls - 2 {
		if hold *= 2; hold >= maxHold {
			return maxHold
		}
	}
	return hold
}

// judge puts the checks together. It is false while one is unknown.
func judge(tracks []*track) (State, bool) {
	s := State{Healthy: true, Weight: cluster.MaxWeight}
	var reasons []string
	for _, t := range tracks {
		switch {
		case t.phase == unknown:
			return State{}, false
		case t.phase == passing:
			continue
		case t.check.Weight == 0:
			s.Healthy = false
		default:
			s.Weight = min(s.Weight, t.check.Weight)
		}
		reasons = append(reasons, t.because)
	}
	s.Reason = strings.Join(reasons, "; ")
	return s, true
}
