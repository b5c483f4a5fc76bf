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
	// A terminal that goes away ends a command in order, too, unless it was
	// started not to care, as nohup does.
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	status := cli.Run(ctx, &cli.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}, os.Args[1:])
	stop()
	os.Exit(status)
}
