package cli

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/meta"
)

// controlTemplate is the control script of an agent called NAME.
//
//go:embed newagent.control
var controlTemplate string

// newAgentCommand writes what a release of an agent begins with.
func (a *app) newAgentCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "new-agent NAME",
		Short: "write a control script for a new agent to begin with",
		Long: `Writes {dir}/control, a script that starts, stops and watches a program called
NAME beside it. docs/AGENTS.md says what such a script has to keep to.`,
		Example: `  ops-updater new-agent falcon-agent
  cp build/falcon-agent falcon-agent/
  tar -C falcon-agent -czf falcon-agent-1.0.0.tar.gz .
  ops-meta publish falcon-agent-1.0.0.tar.gz`,
		Args: oneAgent,
		RunE: func(_ *cobra.Command, args []string) error {
			if !meta.ValidName(args[0]) {
				return hinted{usageError{fmt.Errorf("%q is not a name for an agent", args[0])}, "letters, digits and ._+-, beginning with a letter or digit, at most 128"}
			}
			if dir == "" {
				dir = args[0]
			}
			return a.writeControl(args[0], dir)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "write into this `directory` instead of ./NAME")
	return cmd
}

// writeControl never replaces a script that is there: somebody wrote it.
func (a *app) writeControl(name, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot make the directory of %s: %w", name, err)
	}
	path := filepath.Join(dir, "control")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return hinted{fmt.Errorf("cannot write %s: it is there already", path), "move it away, or name another directory with --dir"}
	}
	if err != nil {
		return fmt.Errorf("cannot write the control script of %s: %w", name, err)
	}
	_, err = f.WriteString(strings.ReplaceAll(controlTemplate, "NAME", name))
	if err := errors.Join(err, f.Chmod(0o755), f.Close()); err != nil { // whatever the umask is
		return fmt.Errorf("cannot write the control script of %s: %w", name, err)
	}
	_, err = fmt.Fprintf(a.stdio.Out, `wrote %[2]s
next:
  put the program %[1]s into %[3]s, and edit the line program() if it has arguments
  try it:   %[2]s start && %[2]s status && %[2]s stop
  pack it:  tar -C %[3]s --exclude=./var -czf %[1]s-1.0.0.tar.gz .
  publish:  ops-meta publish %[1]s-1.0.0.tar.gz
`, name, path, dir)
	return err
}
