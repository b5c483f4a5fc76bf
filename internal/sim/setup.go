package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// String writes a setup as the cluster line of a script.
func (s *Setup) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cluster nodes=%d buckets=%d interval=%v lease=%v", s.Nodes, s.Buckets, s.Interval, s.Lease)
	number := func(key string, n int64, usual int64) {
		if n != usual {
			fmt.Fprintf(&b, " %s=%d", key, n)
		}
	}
	number("seed", int64(s.Seed), 0)
	number("interfaces", int64(s.Interfaces), 1)
	number("beats", int64(s.Beats), 0)
	number("spare", int64(s.Spare), 0)
	number("drift", s.Drift, 0)
	number("noise", int64(s.Noise), 0)
	if s.Available {
		b.WriteString(" partition=available")
	}
	if s.Keep {
		fmt.Fprintf(&b, " keep=%v", time.Duration(s.Drain))
	}
	if s.Hold {
		b.WriteString(" udp=keep")
	}
	if s.KeepIll {
		b.WriteString(" ill=keep")
	}
	if s.Silent != 0 {
		fmt.Fprintf(&b, " silent=%s", nodes(s.Silent))
	}
	if s.Sync != 0 {
		fmt.Fprintf(&b, " sync=%v", time.Duration(s.Sync))
	}
	if s.DelayMax != 0 {
		fmt.Fprintf(&b, " delay=%v", time.Duration(s.DelayMax))
	}
	for i, weight := range s.Weights {
		b.WriteString([]string{",", " weights="}[b2i(i == 0)])
		fmt.Fprint(&b, weight)
	}
	return b.String()
}

// partition is the setting of that name.
func (s *Setup) partition() string {
	if s.Available {
		return "available"
	}
	return "majority"
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ParseSetup reads the arguments of a cluster line.
func ParseSetup(args []string) (Setup, error) {
	s := Setup{Nodes: 3, Buckets: 12, Interfaces: 1, Interval: 20 * time.Millisecond, Lease: 100 * time.Millisecond}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		if err := s.set(key, value); err != nil {
			return s, fmt.Errorf("cluster %s: %w", arg, err)
		}
	}
	if s.Nodes < 1 || s.Nodes+s.Spare > maxHosts || s.Buckets < 1 || s.Buckets > 64 ||
		s.Interfaces < 1 || s.Interfaces > maxInterfaces || s.Beats < 0 || s.Beats >= s.Interfaces {
		return s, fmt.Errorf("cluster: up to %d nodes, 64 buckets and %d interfaces", maxHosts, maxInterfaces)
	}
	return s, nil
}

func (s *Setup) set(key, value string) (err error) {
	number := func(to *int) { *to, err = strconv.Atoi(value) }
	span := func(to *time.Duration) { *to, err = time.ParseDuration(value) }
	var n int
	var d time.Duration
	switch key {
	case "nodes":
		number(&s.Nodes)
	case "buckets":
		number(&s.Buckets)
	case "interfaces":
		number(&s.Interfaces)
	case "beats":
		number(&s.Beats)
	case "spare":
		number(&s.Spare)
	case "interval":
		span(&s.Interval)
	case "lease":
		span(&s.Lease)
	case "seed":
		s.Seed, err = strconv.ParseUint(value, 10, 64)
	case "drift":
		number(&n)
		s.Drift = int64(n)
	case "noise":
		number(&n)
		s.Noise = uint32(n)
	case "partition":
		s.Available = value == "available"
	case "keep":
		span(&d)
		s.Keep, s.Drain = true, instant(d)
	case "udp":
		s.Hold = value == "keep"
	case "ill":
		s.KeepIll = value == "keep"
	case "silent":
		s.Silent, err = set(value)
	case "sync":
		span(&d)
		s.Sync = instant(d)
	case "delay":
		span(&d)
		s.DelayMax = instant(d)
	case "weights":
		var weight uint64
		for text := range strings.SplitSeq(value, ",") {
			weight, err = strconv.ParseUint(text, 10, 16)
			s.Weights = append(s.Weights, uint16(weight))
		}
	default:
		return fmt.Errorf("no such key")
	}
	return err
}
