package lab

import (
	"math"
	"time"
)

// A histogram of durations in buckets that each are 2 % wider than the one
// before, from a microsecond to an hour: quantiles are right within 2 %.
type histogram struct {
	buckets [1 + 1120]int64 // 1.02^1120 µs is more than an hour
	count   int64
}

const bucketGrowth = 1.02

func (h *histogram) add(d time.Duration) {
	us := max(float64(d)/float64(time.Microsecond), 1)
	i := int(math.Log(us) / math.Log(bucketGrowth))
	h.buckets[min(i, len(h.buckets)-1)]++
	h.count++
}

// quantile returns the q-quantile, 0 < q ≤ 1, in microseconds; 0 if nothing
// was added.
func (h *histogram) quantile(q float64) float64 {
	rank := int64(math.Ceil(q * float64(h.count)))
	for i, n := range h.buckets {
		if rank -= n; rank <= 0 && h.count > 0 {
			return math.Pow(bucketGrowth, float64(i)+0.5)
		}
	}
	return 0
}

func (h *histogram) summary() Times { return Times{h.quantile(0.5), h.quantile(0.99)} }
