package flows

// Quiet is how many counts in a row a bucket without flows takes to be empty.
// With one count a second, two to three seconds: a client that did not get the
// last ACK sends its FIN again after 0.2 s, 0.6 s, 1.4 s (its RTO, doubled each
// time).
const Quiet = 3

// Idle tells which buckets that are given away have no flows left.
type Idle struct {
	quiet []uint8 // counts in a row without flows, by bucket, while it is given away
}

// Note takes in a count and returns, in order, the buckets that have become
// empty or still are. draining says which buckets were given away when the
// count began: earlier ones say nothing, since flows may have been taken since.
func (i *Idle) Note(counts []int, draining func(bucket int) bool) (empty []int) {
	if len(i.quiet) < len(counts) {
		i.quiet = make([]uint8, len(counts))
	}
	for bucket, n := range counts {
		if n > 0 || !draining(bucket) {
			i.quiet[bucket] = 0
			continue
		}
		i.quiet[bucket] = min(i.quiet[bucket]+1, Quiet)
		if i.quiet[bucket] == Quiet {
			empty = append(empty, bucket)
		}
	}
	return empty
}
