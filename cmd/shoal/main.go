// Command shoal runs load-sharing clusters without load balancers.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/shoal-net/shoal/internal/cli"
)

func main() {
	hangup := make(chan os.Signal, 1)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup wants it
		signal.Notify(hangup, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := cli.Run(ctx, &cli.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Hangup: hangup}, os.Args[1:])
	stop()
	os.Exit(status)
}
