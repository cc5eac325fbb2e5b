package child

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/control"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/takeover"
)

// tryProgram has a version of the sidecar say which one it is and check this host
// with the configuration in force: as the sidecar's own user, within the bounds of
// a control script. What keeps the version that runs from starting as well is not
// the new one's fault.
func (t task) tryProgram(ctx context.Context) error {
	p := *t.Program
	said, err := t.runProgram(ctx, p.Path, "--version")
	if err != nil {
		return err
	}
	if why := wrongVersion(said, p.Version); why != "" {
		return &job.Error{Message: fmt.Sprintf("the program in %s %s", p.Version, why), Code: job.CodeCheck, Permanent: true}
	}
	checked, err := t.runProgram(ctx, p.Path, "check", "--takeover", "-c", p.Config)
	if err != nil {
		return err
	}
	if !checked.Failed() {
		return nil
	}
	why := fmt.Sprintf("%s does not pass its check on this host: %s", p.Version, explainCheck(checked))
	self, err := os.Executable()
	if err == nil {
		if own, err := t.runProgram(ctx, self, "check", "-c", p.Config); err == nil && own.Failed() { // also for want of time: this host is busy
			return &job.Error{Message: why + "; nor does the version that runs", Code: job.CodeCheck, Host: true}
		}
	}
	return &job.Error{Message: why, Code: job.CodeCheck, Permanent: true}
}

// versionTimeout is how long a program may take to say which version it is.
const versionTimeout = 10 * time.Second

func (t task) runProgram(ctx context.Context, path, verb string, args ...string) (control.Outcome, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return control.Outcome{}, &job.Error{Message: fmt.Sprintf("%s has no program %s beside its control", t.Program.Version, filepath.Base(path)), Code: job.CodeCheck, Permanent: true}
	}
	if err := control.Runnable(path, t.run.Env); err != nil {
		return control.Outcome{}, err
	}
	timeout := t.Program.Timeout
	if verb != "check" {
		timeout = min(timeout, versionTimeout)
	}
	return control.Run(ctx, control.Call{
		Script: path, Directory: filepath.Dir(t.Program.Config), Verb: verb, Args: args, Timeout: timeout,
		Env: append(slices.Clone(t.run.Env), takeover.AsItself),
	})
}

func wrongVersion(said control.Outcome, version string) string {
	switch is := strings.TrimSpace(said.Head); {
	case said.Failed():
		return "does not say its version: " + said.Explain("--version")
	case is != version:
		return fmt.Sprintf("says that it is %.80q", is)
	}
	return ""
}

// explainCheck are the findings that are errors, or how it ended.
func explainCheck(o control.Outcome) string {
	var found []string
	for line := range strings.Lines(o.Head) {
		if what, is := strings.CutPrefix(line, "error"); is && strings.HasPrefix(what, " ") {
			found = append(found, strings.TrimSpace(what))
		}
	}
	if len(found) > 0 && !o.TimedOut {
		return strings.Join(found, "; ")
	}
	return o.Explain("ops-updater check")
}
