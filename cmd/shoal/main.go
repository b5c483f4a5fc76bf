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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := cli.Run(ctx, &cli.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}, os.Args[1:])
	stop()
	os.Exit(status)
}
