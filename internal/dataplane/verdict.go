package dataplane

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// Verdict is why a frame went where it went: enum verdict of bpf/abi.h, which
// says what each one means.
type Verdict = ingressXDPVerdict

// State is the state of a bucket on a node: enum bucket_state of bpf/abi.h.
type State = ingressXDPBucketState

// The states of a bucket.
const (
	Foreign   = ingressXDPBucketStateFOREIGN
	Owned     = ingressXDPBucketStateOWNED
	Acquiring = ingressXDPBucketStateACQUIRING
	Draining  = ingressXDPBucketStateDRAINING
	// AcquiringHeld is Acquiring without new UDP flows, until Plane.Freeze was called.
	AcquiringHeld = ingressXDPBucketStateACQUIRING_HELD
)

var verdictNames = [ingressXDPVerdictVERDICTS]string{
	ingressXDPVerdictPASS_OTHER:            "pass_other",
	ingressXDPVerdictPASS_VLAN:             "pass_vlan",
	ingressXDPVerdictPASS_MULTICAST:        "pass_multicast",
	ingressXDPVerdictPASS_NEIGHBOUR:        "pass_neighbour",
	ingressXDPVerdictANSWER_ARP:            "answer_arp",
	ingressXDPVerdictANSWER_ND:             "answer_nd",
	ingressXDPVerdictHANDLE_OWNED:          "handle_owned",
	ingressXDPVerdictHANDLE_NEW_FLOW:       "handle_new_flow",
	ingressXDPVerdictHANDLE_MY_FLOW:        "handle_my_flow",
	ingressXDPVerdictMARK_OWNED:            "mark_owned",
	ingressXDPVerdictMARK_FOREIGN:          "mark_foreign",
	ingressXDPVerdictHEARTBEAT:             "heartbeat",
	ingressXDPVerdictDROP_FOREIGN:          "drop_foreign",
	ingressXDPVerdictDROP_NO_LEASE:         "drop_no_lease",
	ingressXDPVerdictDROP_STALE_TABLE:      "drop_stale_table",
	ingressXDPVerdictDROP_NOT_MY_FLOW:      "drop_not_my_flow",
	ingressXDPVerdictDROP_NEW_FLOW:         "drop_new_flow",
	ingressXDPVerdictDROP_KEPT:             "drop_kept",
	ingressXDPVerdictDROP_HELD:             "drop_held",
	ingressXDPVerdictDROP_UNTRACKED:        "drop_untracked",
	ingressXDPVerdictDROP_MALFORMED:        "drop_malformed",
	ingressXDPVerdictDROP_UNKNOWN_PROTOCOL: "drop_unknown_protocol",
	ingressXDPVerdictDROP_ARP_FOREIGN:      "drop_arp_foreign",
	ingressXDPVerdictDROP_ND_FOREIGN:       "drop_nd_foreign",
	ingressXDPVerdictDROP_ARP_CLUSTER:      "drop_arp_cluster",
	ingressXDPVerdictDROP_ND_CLUSTER:       "drop_nd_cluster",
	ingressXDPVerdictDROP_HEARTBEAT:        "drop_heartbeat",
	ingressXDPVerdictDROP_HEARTBEAT_FULL:   "drop_heartbeat_full",
	ingressXDPVerdictTYPE_HOST:             "type_host",
	ingressXDPVerdictSENT_OTHER:            "sent_other",
	ingressXDPVerdictSENT_ARP:              "sent_arp",
	ingressXDPVerdictSENT_ND:               "sent_nd",
	ingressXDPVerdictSENT_OWNED:            "sent_owned",
	ingressXDPVerdictDROP_SENT_FOREIGN:     "drop_sent_foreign",
	ingressXDPVerdictDROP_SENT_NO_LEASE:    "drop_sent_no_lease",
	ingressXDPVerdictALARM_CONFLICT:        "alarm_conflict",
	ingressXDPVerdictYIELDED:               "yielded",
	ingressXDPVerdictFIRST_FRAGMENT:        "first_fragment",
}

func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict(%d)", uint32(v))
}

// AlarmConflict counts claims of a cluster address with a MAC that is not the
// cluster's.
const AlarmConflict = ingressXDPVerdictALARM_CONFLICT

// Counters are the packets of one interface by verdict, since its programs
// were first attached.
type Counters [ingressXDPVerdictVERDICTS]uint64

// ByName returns the counters that are not zero by the names of their verdicts.
func (c Counters) ByName() map[string]uint64 {
	names := make(map[string]uint64)
	for v, n := range c {
		if n > 0 {
			names[verdictNames[v]] = n
		}
	}
	return names
}

func readCounters(m *ebpf.Map) (Counters, error) {
	var c Counters
	for v := range min(len(c), int(m.MaxEntries())) { // another version may count less
		var perCPU []uint64
		if err := m.Lookup(uint32(v), &perCPU); err != nil {
			return c, fmt.Errorf("read counter %s: %w", verdictNames[v], err)
		}
		for _, n := range perCPU {
			c[v] += n
		}
	}
	return c, nil
}

func readBuckets(m *ebpf.Map) ([]uint64, error) {
	packets := make([]uint64, m.MaxEntries())
	var (
		cursor ebpf.MapBatchCursor
		keys   = make([]uint32, len(packets))
	)
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, err
	}
	flat := make([]uint64, len(packets)*cpus)
	n, err := m.BatchLookup(&cursor, keys, flat, nil)
	if n < len(packets) {
		return nil, fmt.Errorf("read packets per bucket: %d of %d: %w", n, len(packets), err)
	}
	for i, bucket := range keys {
		for _, count := range flat[i*cpus : (i+1)*cpus] {
			packets[bucket] += count
		}
	}
	return packets, nil
}
