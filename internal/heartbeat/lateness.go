package heartbeat

import (
	"math/bits"
	"time"
)

// lateness is how late the process did what was due. It takes no memory.
type lateness struct {
	worst  [60]time.Duration // by second
	second [60]int64         // since boot, of worst
	counts [latenessBuckets]uint64
}

// latenessBuckets: bucket n counts what was less than 2^n µs late and is in no
// bucket before; the last one counts the rest.
const latenessBuckets = 22

func (l *lateness) add(now, late time.Duration) {
	late = max(late, 0)
	second := int64(now / time.Second)
	at := second % int64(len(l.worst))
	if l.second[at] != second {
		l.second[at], l.worst[at] = second, 0
	}
	l.worst[at] = max(l.worst[at], late)
	l.counts[min(bits.Len64(uint64(late/time.Microsecond)), latenessBuckets-1)]++
}

// lastMinute returns the worst of the last minute.
func (l *lateness) lastMinute(now time.Duration) (worst time.Duration) {
	second := int64(now / time.Second)
	for i, s := range l.second {
		if s > second-int64(len(l.worst)) {
			worst = max(worst, l.worst[i])
		}
	}
	return worst
}
