package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/shoal-net/shoal/internal/agent"
)

func reloadCommand(env *Env) *cobra.Command {
	var instance string
	cmd := &cobra.Command{
		Use:   "reload CLUSTER",
		Short: "Make the running node read its file again",
		Long: `Makes the agent read its file again, as SIGHUP does. The list of nodes, keys,
witness, partition and health checks may change; anything else takes a restart.
The order in which the nodes of a cluster are reloaded does not matter.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			paths, err := agent.NewPaths(instance, args[0])
			if err != nil {
				return usageError{err}
			}
			if os.Geteuid() != 0 {
				return errors.New("must be root: the agent takes commands from nobody else")
			}
			if err := agent.Reload(paths); err != nil {
				return fmt.Errorf("reload %s: %w", args[0], err)
			}
			fmt.Fprintln(env.Stdout, "reloaded")
			return nil
		},
	}
	instanceFlag(cmd, &instance)
	return cmd
}
