package cli

import "github.com/spf13/cobra"

func matchCommand(_ *Env) *cobra.Command { return &cobra.Command{Use: "match"} }
