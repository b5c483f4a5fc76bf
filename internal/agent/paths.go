package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// DefaultInstance is the instance of a host that runs only one network
// namespace's clusters.
const DefaultInstance = "host"

// root is where all that lives until the next boot is kept.
const root = "/run/shoal"

// bpfRoot is a BPF file system of shoal's own: /sys/fs/bpf is hidden where /sys
// is mounted anew for a network namespace, as `ip netns exec` does.
const bpfRoot = root + "/bpf"

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// Paths says where one cluster of one instance keeps what outlives its agent.
// An instance stands for a network namespace: clusters of several can run side
// by side on one machine.
type Paths struct{ Instance, Cluster string }

// NewPaths checks the names: they become names of directories.
func NewPaths(instance, cluster string) (Paths, error) {
	for _, name := range []string{instance, cluster} {
		if !nameForm.MatchString(name) {
			return Paths{}, fmt.Errorf("%q cannot be a name: a-z, 0-9 and -, at most 63", name)
		}
	}
	return Paths{instance, cluster}, nil
}

// Pins is the cluster's directory in the BPF file system.
func (p Paths) Pins() string { return filepath.Join(bpfRoot, p.Instance, p.Cluster) }

// memory is the directory of what the protocol must remember across restarts.
func (p Paths) memory() string {
	return filepath.Join("/var/lib/shoal", p.Instance, p.Cluster)
}

// socket is where the agent answers commands.
func (p Paths) socket() string {
	return filepath.Join(root, "state", p.Instance, p.Cluster+".sock")
}

func (p Paths) state() string {
	return filepath.Join(root, "state", p.Instance, p.Cluster+".json")
}

// Clusters lists the clusters of an instance that run, or have left something
// behind.
func Clusters(instance string) ([]string, error) {
	found := make(map[string]bool)
	var names []string
	for _, dir := range []string{filepath.Join(root, "state", instance), filepath.Join(bpfRoot, instance)} {
		entries, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			return nil, fmt.Errorf("look for clusters: %w", err)
		}
		for _, e := range entries {
			name := strings.TrimSuffix(strings.TrimSuffix(e.Name(), ".json"), ".sock")
			if !found[name] && nameForm.MatchString(name) { // not a file half written
				found[name] = true
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// removeEmpty removes the directories that hold nothing any more.
func removeEmpty(dirs ...string) {
	for _, dir := range dirs {
		_ = os.Remove(dir) // fails where another cluster still has something in it
	}
}
