// Command ops-updater keeps this host's agents at the version that ops-meta
// wants.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/ops-updater/ops-updater/updater/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := cli.Main(ctx, os.Args[1:], cli.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
