package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ops-updater/ops-updater/internal/rootpath"
	"github.com/ops-updater/ops-updater/meta"
)

// CheckRoots keeps root from running, reading and writing what another user
// can put into an agent's directory: everything from / down to it, the version
// and its control script must be root's, and only root's to write. For other
// users it is always right; version may be empty. Its error is a
// [*rootpath.Error].
func (d Dir) CheckRoots(version string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := rootpath.Check(d.Path); err != nil {
		return err
	}
	if err := rootpath.CheckEntry(d.file(versionFile)); err != nil || !meta.ValidName(version) {
		return err
	}
	for _, path := range []string{d.file(version), d.file(version, scriptName)} {
		if err := rootpath.CheckEntry(path); err != nil {
			return err
		}
	}
	return checkScript(d.file(version, scriptName))
}

// checkScript: control may be a link within its release.
func checkScript(path string) error {
	script, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = rootpath.Check(filepath.Dir(script))
	}
	if err == nil {
		err = rootpath.CheckEntry(script)
	}
	return err
}

// Claim checks that the user it runs as may take the directory over from the
// one who ran the agent before, with version where that is there already: it
// must be that user's to write, and nothing in it may belong to anybody else,
// who could have put there what now would be run.
func (d Dir) Claim(version string) error {
	if err := d.claimWritable(version); err != nil {
		return err
	}
	uid := os.Geteuid()
	if err := rootpath.CheckOwner(d.Path, uid); err != nil {
		return claimError(d.Name, err)
	}
	if !d.Complete(version) {
		return nil // it is installed anew
	}
	return claimError(d.Name, rootpath.CheckTree(d.file(version), uid))
}
