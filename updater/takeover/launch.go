package takeover

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ops-updater/ops-updater/internal/rootpath"
	"github.com/ops-updater/ops-updater/internal/servicemanager"
)

// launchedMark is set for a program that is where it shall be: it launches no other.
const launchedMark = "OPS_UPDATER_LAUNCHED"

// AsItself in the environment of a version of the sidecar has it run as itself,
// also where another one is current.
const AsItself = launchedMark + "=1"

// Launch goes on as the version that is current, if this program is the one that
// is installed and another version is current. Otherwise it returns, and this
// program is the one to run; the error says why another one could not.
func Launch(varDir string) error {
	launched := os.Getenv(launchedMark) != ""
	_ = os.Unsetenv(launchedMark)
	if launched || !Supported || varDir == "" {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil //nolint:nilerr // nobody knows what is installed
	}
	s, err := Load(varDir)
	if errors.Is(err, fs.ErrPermission) {
		return nil // another user's: what the program says to that is better
	}
	if err != nil {
		return err
	}
	next, ok := s.Successor(self)
	if !ok {
		return nil
	}
	if err := mayRun(next); err != nil {
		return fmt.Errorf("version %s is current and cannot be run, this one runs instead: %w", next.Version, err)
	}
	return fmt.Errorf("version %s is current and cannot be run, this one runs instead: %w", next.Version, become(next.Path, os.Args))
}

// Successor is what the program at path has to go on as. It is none where that
// program was replaced since the current version was chosen: who did so wants it
// to run.
func (s State) Successor(path string) (Program, bool) {
	if s.Current.Path == "" || !s.Installed.Lies(path) || s.Current.Lies(path) || !s.Installed.isUnchanged() {
		return Program{}, false
	}
	return s.Current, true
}

// Check is an error where the version that is current cannot be run.
func (s State) Check() error {
	if s.Current.Path == "" {
		return nil
	}
	return mayRun(s.Current)
}

// mayRun is an error where the program is not there, or root would run what others
// can change.
func mayRun(p Program) error {
	fi, err := os.Stat(p.Path)
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() || fi.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is no program", p.Path)
	}
	if os.Geteuid() != 0 {
		return nil
	}
	if err := rootpath.Check(filepath.Dir(p.Path)); err != nil {
		return err
	}
	return rootpath.CheckEntry(p.Path)
}

// become replaces the program of this process; it only returns with an error.
func become(path string, args []string) error {
	servicemanager.HandOver()
	env := append(os.Environ(), AsItself)
	if err := syscall.Exec(path, args, env); err != nil {
		return fmt.Errorf("cannot execute %s: %w", path, err)
	}
	return nil
}
