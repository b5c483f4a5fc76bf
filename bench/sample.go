package main

import (
	"fmt"
	"slices"
)

// sample is a series of measurements of one thing, one from each round.
type sample []float64

func (s sample) quantile(q float64) float64 {
	sorted := slices.Sorted(slices.Values(s))
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

func (s sample) median() float64 { return s.quantile(0.5) }

// spread returns the bounds of the middle half of the measurements.
func (s sample) spread() string {
	return fmt.Sprintf("%.1f–%.1f", s.quantile(0.25), s.quantile(0.75))
}

// minus returns the differences, round by round: both were measured in the same
// moment, so what disturbed that round cancels out.
func (s sample) minus(other sample) sample {
	diff := make(sample, len(s))
	for i := range s {
		diff[i] = s[i] - other[i]
	}
	return diff
}

// interleave measures each case once per round, after one round that does not
// count, so that a slow moment of the machine meets all of them alike.
func interleave(rounds, cases int, measure func(i int) (float64, error)) ([]sample, error) {
	samples := make([]sample, cases)
	for round := range rounds + 1 {
		for i := range cases {
			value, err := measure(i)
			if err != nil {
				return nil, err
			}
			if round > 0 {
				samples[i] = append(samples[i], value)
			}
		}
	}
	return samples, nil
}
