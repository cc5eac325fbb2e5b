package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/updater"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/takeover"
)

// ownProcesses are the commands that the sidecar starts as itself, whatever version
// is current by then.
var ownProcesses = []string{"child", "watch"}

// launchCurrent goes on as the version of the sidecar that is current on this host.
func launchCurrent(args []string, stdio Stdio) {
	if len(args) > 0 && slices.Contains(ownProcesses, args[0]) {
		return
	}
	if err := takeover.Launch(config.FindVarDir(configArgument(args))); err != nil {
		_, _ = fmt.Fprintf(stdio.Err, "warning: %s\n", printable.Text(err.Error()))
	}
}

// configArgument is the configuration file that args name. They are not understood
// any further: another version may have to.
func configArgument(args []string) string {
	for i, a := range args {
		switch {
		case a == "--":
			return defaultConfig
		case (a == "-c" || a == "--config") && i+1 < len(args):
			return args[i+1]
		case strings.HasPrefix(a, "--config="):
			return strings.TrimPrefix(a, "--config=")
		case strings.HasPrefix(a, "-c"):
			return strings.TrimPrefix(strings.TrimPrefix(a, "-c"), "=")
		}
	}
	return defaultConfig
}

// watchCommand is what a version of the sidecar starts before another one takes
// over; people don't.
func watchCommand() *cobra.Command {
	return &cobra.Command{
		Use: "watch", Hidden: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("want the var directory")}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return updater.Watch(args[0]) },
	}
}
