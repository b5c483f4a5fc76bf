package cli

import "github.com/spf13/cobra"

func labCommand(_ *Env) *cobra.Command { return &cobra.Command{Use: "lab"} }
