// Package cli holds the commands of shoal, a file each.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// Env is what commands see of the world outside.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Hangup         <-chan os.Signal // SIGHUP: ends a command in order, unless it has a file to read again
}

// Exit statuses.
const (
	exitFailed = 1 // what was asked for failed, or found a fault
	exitUsage  = 2 // bad arguments or a bad file: nothing was touched
)

// usageError is an error in what the user gave; it ends with exitUsage.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errQuiet ends with exitFailed; the command has said what there is to say.
var errQuiet = errors.New("failed")

// Run runs the command that args name and returns the exit status.
func Run(ctx context.Context, env *Env, args []string) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	root := rootCommand(env)
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) {
		if cmd.Name() != upName {
			go endAtHangup(ctx, env, cancel)
		}
	}
	root.SetArgs(args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errQuiet):
		return exitFailed
	case errors.As(err, &usage):
		fmt.Fprintln(env.Stderr, "shoal:", err)
		return exitUsage
	default:
		fmt.Fprintln(env.Stderr, "shoal:", err)
		return exitFailed
	}
}

// endAtHangup ends a command whose terminal goes away.
func endAtHangup(ctx context.Context, env *Env, cancel context.CancelFunc) {
	select {
	case <-env.Hangup:
		cancel()
	case <-ctx.Done():
	}
}

// sortHangups ends a command whose terminal has gone away, and passes on what
// somebody else sent.
func sortHangups(ctx context.Context, env *Env, cancel context.CancelFunc, sent chan<- os.Signal) {
	for had := hasTerminal(); ; {
		select {
		case sig := <-env.Hangup:
			if had && !hasTerminal() {
				cancel()
				return
			}
			select {
			case sent <- sig:
			default: // one waits already
			}
		case <-ctx.Done():
			return
		}
	}
}

// hasTerminal reports whether the process has a controlling terminal. One that
// hangs up is taken from all processes of its session (tty(4)).
func hasTerminal() bool {
	f, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	f.Close()
	return true
}

func rootCommand(env *Env) *cobra.Command {
	root := &cobra.Command{
		Use:           "shoal",
		Short:         "Load-sharing clusters without load balancers",
		Args:          usageArgs(cobra.NoArgs),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		matchCommand(env),
		configCommand(env),
		upCommand(env),
		downCommand(env),
		statusCommand(env),
		reloadCommand(env),
		drainCommand(env),
		undrainCommand(env),
		weightCommand(env),
		labCommand(env),
		heartbeatCommand(),
	)
	return root
}

// usageArgs makes what an argument check finds a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}
