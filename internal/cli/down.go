package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/shoal-net/shoal/internal/agent"
)

func downCommand(env *Env) *cobra.Command {
	var instance string
	cmd := &cobra.Command{
		Use:   "down [CLUSTER…]",
		Short: "Take clusters off this host, also what a killed agent left behind",
		Long: `Takes the named clusters off this host, or all of the instance: ends their
agents, and removes programs, pins, addresses, MAC filters and group
memberships; sysctls get their old values back. Run it in the network namespace
that the agent ran in. Where there is nothing it does nothing.`,
		RunE: func(cmd *cobra.Command, names []string) error {
			if os.Geteuid() != 0 {
				return errors.New("must be root")
			}
			if len(names) == 0 {
				var err error
				if names, err = agent.Clusters(instance); err != nil {
					return err
				}
			}
			for _, name := range names {
				paths, err := agent.NewPaths(instance, name)
				if err != nil {
					return usageError{err}
				}
				found, err := agent.Down(cmd.Context(), paths)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if found {
					fmt.Fprintf(env.Stdout, "%s is down\n", name)
				}
			}
			return nil
		},
	}
	instanceFlag(cmd, &instance)
	return cmd
}

func instanceFlag(cmd *cobra.Command, instance *string) {
	cmd.Flags().StringVar(instance, "instance", agent.DefaultInstance, "the --instance that shoal up was given")
}
