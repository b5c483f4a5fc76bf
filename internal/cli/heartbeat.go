package cli

import (
	"github.com/spf13/cobra"

	"github.com/shoal-net/shoal/internal/heartbeat"
)

// heartbeatCommand is not for people: `shoal up` runs it.
func heartbeatCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "heartbeat",
		Short:  "The process that keeps a node in its cluster; shoal up starts it",
		Hidden: true,
		Args:   usageArgs(cobra.NoArgs),
		RunE:   func(*cobra.Command, []string) error { return heartbeat.Run() },
	}
}
