package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
)

// agentDirs are where agents keep what outlives them, in a directory for each
// instance (internal/agent).
var agentDirs = []string{"/run/shoal/state", "/run/shoal/bpf", memoryDir}

var instanceForm = regexp.MustCompile(`^lab-(.+)-node[0-9]+$`)

// cleanStrays removes what agents left of labs that have no directory any more:
// such labs were removed while something kept them from going in order. It
// returns the names of these labs.
func cleanStrays(ctx context.Context, binary string) ([]string, error) {
	var labs []string
	var errs []error
	for _, dir := range agentDirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("look for leftovers of labs: %w", err))
		}
		for _, e := range entries {
			m := instanceForm.FindStringSubmatch(e.Name())
			if m == nil || hasRunDir(m[1]) {
				continue
			}
			if err := cleanStray(ctx, e.Name(), binary); err != nil {
				errs = append(errs, err)
			} else if !slices.Contains(labs, m[1]) {
				labs = append(labs, m[1])
			}
		}
	}
	return labs, errors.Join(errs...)
}

// hasRunDir says whether a lab is there, or what Clean removes with it.
func hasRunDir(name string) bool {
	_, err := os.Stat(filepath.Join(labsDir, name))
	return !errors.Is(err, fs.ErrNotExist)
}

// cleanStray needs no network namespace: that of the instance is gone, and
// shoal down refuses where it is not.
func cleanStray(ctx context.Context, instance, binary string) error {
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	if out, err := exec.CommandContext(ctx, binary, "down", clusterName, "--instance", instance).CombinedOutput(); err != nil {
		return fmt.Errorf("take %s down: %w\n%s", instance, err, out)
	}
	return forget(instance)
}
