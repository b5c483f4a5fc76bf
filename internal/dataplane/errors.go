package dataplane

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"github.com/shoal-net/shoal/internal/cluster"
)

// Errors that callers and users tell apart.
var (
	// ErrLocked: another process writes this cluster's data plane.
	ErrLocked = errors.New("another shoal process runs this cluster here: see `shoal status`; `shoal down` ends it")
	// ErrOtherVersion: what is pinned is not what this program can adopt.
	ErrOtherVersion = errors.New("the pinned data plane is of another version; take it down with that version's `shoal down`")
	// ErrInterfaceTaken: another cluster has its programs on the interface.
	ErrInterfaceTaken = errors.New("another shoal cluster has this interface, and each needs interfaces of its own: `shoal status` lists the clusters of this host, `shoal down NAME` takes one off")
	// ErrForeignXDP: an XDP program that is not shoal's sits on the interface.
	ErrForeignXDP = errors.New("another XDP program sits on this interface; remove it, or use `attach: tcx`")
	// ErrMountNamespace: a BPF file system mounted here would end with the
	// processes here, and the programs with it, while the addresses stay.
	ErrMountNamespace = errors.New("this process has a mount namespace of its own, as under `ip netns exec`: pins would vanish with it, and the node would answer everything; enter a network namespace with `nsenter --net=/run/netns/NAME` instead")
	// ErrNotPinned: there is no such cluster on this host.
	ErrNotPinned = errors.New("no data plane is pinned here")
)

// MissingFeatureError says what the kernel lacks.
type MissingFeatureError struct {
	Feature string
	Since   string // the kernel version that has it
	Err     error
}

func (e *MissingFeatureError) Error() string {
	return fmt.Sprintf("this kernel lacks %s, which Linux %s and later have (shoal needs 6.6): %v", e.Feature, e.Since, e.Err)
}

func (e *MissingFeatureError) Unwrap() error { return e.Err }

type feature struct {
	name, since string
	probe       func() error
}

// features lists what the programs need beyond what Linux 5.4 had.
func needed(c *cluster.Cluster) []feature {
	list := []feature{
		{"BTF (CONFIG_DEBUG_INFO_BTF)", "5.4", func() error { _, err := btf.LoadKernelSpec(); return err }},
		{"BPF ring buffers", "5.8", func() error { return features.HaveMapType(ebpf.RingBuf) }},
		{"the boot-time clock in BPF", "5.8", helper(ebpf.XDP, asm.FnKtimeGetBootNs)},
		{"access to multi-buffer frames in XDP", "5.18", helper(ebpf.XDP, asm.FnXdpLoadBytes)},
		{"TCX", "6.6", probeTCX},
	}
	if c.Hash.Key == cluster.KeyOriginal || c.Mode == cluster.Gateway && c.Handover.Flows == cluster.FlowsConntrack {
		list = append(list, feature{"conntrack lookups from BPF (CONFIG_NF_CONNTRACK, CONFIG_DEBUG_INFO_BTF_MODULES), for `key: original` and `flows: conntrack`",
			"5.18", probeConntrack})
	}
	return list
}

func helper(t ebpf.ProgramType, fn asm.BuiltinFunc) func() error {
	return func() error { return features.HaveProgramHelper(t, fn) }
}

// loopback is the index of lo in every network namespace.
const loopback = 1

func probeTCX() error {
	_, err := link.QueryPrograms(link.QueryOptions{Target: loopback, Attach: ebpf.AttachTCXIngress})
	return err
}

func probeConntrack() error {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return err
	}
	var fn *btf.Func
	if spec.TypeByName("bpf_xdp_ct_lookup", &fn) == nil {
		return nil
	}
	module, err := btf.LoadKernelModuleSpec("nf_conntrack")
	if err != nil {
		return err
	}
	return module.TypeByName("bpf_xdp_ct_lookup", &fn)
}

// checkKernel returns a MissingFeatureError for the first feature that is
// missing. Probes that fail for other reasons (no privileges) pass that on.
func checkKernel(list []feature) error {
	for _, f := range list {
		if err := f.probe(); err != nil {
			return &MissingFeatureError{f.name, f.since, err}
		}
	}
	return nil
}
