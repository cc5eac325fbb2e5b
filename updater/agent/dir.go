package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/internal/faultpoint"
	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta"
)

// Names within an agent's directory.
const (
	versionFile = ".version"
	outputFile  = ".control.out"
	runFile     = ".control.run"
	startFile   = ".control.started"
	lockFile    = ".control.lock"
	scriptName  = "control"
)

// maxVersionFile is far more than a version may have.
const maxVersionFile = 256

// Dir is the directory of one agent, {workDir}/{name}.
type Dir struct {
	Path string `json:"path"` // absolute
	Name string `json:"name"`
}

// Current is the version that .version names, or "" when there is none yet.
// What it names need not be there: see [Dir.Complete].
func (d Dir) Current() (string, error) {
	line, err := d.readVersionFile()
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", d.file(versionFile), err)
	}
	version := strings.Trim(line, "\x00 \t\r\n")
	if version == "" { // a power cut leaves an empty file, or one of NULs: as good as none
		return "", nil
	}
	if !meta.ValidName(version) { // no less damaged, and as little to be waited on: see whyUnusable
		return "", nil
	}
	return version, nil
}

// whyUnusable says what .version holds instead of a version; nothing where it holds one,
// or is empty.
func (d Dir) whyUnusable() string {
	line, err := d.readVersionFile()
	version := strings.Trim(line, "\x00 \t\r\n")
	if err != nil || version == "" || meta.ValidName(version) {
		return ""
	}
	return fmt.Sprintf("%s holds %.80q, which is not a version", d.file(versionFile), version)
}

// readVersionFile follows no link and does not wait on a FIFO: the file's
// owner may have put anything there.
func (d Dir) readVersionFile() (string, error) {
	f, err := os.OpenFile(d.file(versionFile), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxVersionFile {
		return "", fmt.Errorf("want a regular file of one line, found %v of %d bytes", fi.Mode().Type(), fi.Size())
	}
	line, err := io.ReadAll(io.LimitReader(f, maxVersionFile))
	return string(line), err
}

// Complete reports whether version is a complete version directory: a
// directory, not a link, with a control file. Directories get a version's name
// only by the rename that ends an install, so nothing more needs to be looked
// at; but older programs unpacked into it, and may have been cut short.
func (d Dir) Complete(version string) bool {
	if !meta.ValidName(version) {
		return false
	}
	dir, err := os.Lstat(d.file(version))
	if err != nil || !dir.IsDir() {
		return false
	}
	return isScript(d.file(version, scriptName))
}

// isScript: path is a file with something in it. A power cut while an older
// program unpacked leaves empty files, or files of NULs.
func isScript(path string) bool {
	fi, err := os.Stat(path)
	if err != nil || !fi.Mode().IsRegular() {
		return false
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fi.Size() > 0 // it may be executed and not read
	}
	defer func() { _ = f.Close() }()
	return plainfile.Whole(f)
}

// ErrIncomplete is returned for a version that is not a complete directory.
var ErrIncomplete = errors.New("not a complete version")

// Activate makes .version name version. It refuses a version that is not
// complete, so that .version never names anything else.
func (d Dir) Activate(version string) error {
	if !d.Complete(version) {
		return fmt.Errorf("cannot activate %s %s: %s is %w", d.Name, version, d.file(version), ErrIncomplete)
	}
	if now, err := d.Current(); err == nil && now == version {
		return nil
	}
	faultpoint.Hit("activate.write")
	// No newline at the end: old readers don't trim.
	if err := atomicfile.Write(d.file(versionFile), []byte(version), 0o644); err != nil {
		return err
	}
	faultpoint.Hit("activate.done")
	return nil
}

// Ready checks that version is complete and that [Dir.Activate] could make
// .version name it: a disk that is full or read-only is found while the old
// version still runs.
func (d Dir) Ready(version string) error {
	if !d.Complete(version) {
		return fmt.Errorf("cannot activate %s %s: %s is %w", d.Name, version, d.file(version), ErrIncomplete)
	}
	if err := d.tryWrite(version); err != nil {
		return fmt.Errorf("cannot switch %s to %s, %s cannot be written: %w", d.Name, version, d.Path, err)
	}
	return nil
}

func (d Dir) tryWrite(text string) error {
	f, err := os.CreateTemp(d.Path, "."+versionFile+".tmp-")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	return errors.Join(err, os.Remove(f.Name()))
}

// Versions lists the complete versions, sorted by name.
func (d Dir) Versions() ([]string, error) {
	entries, err := os.ReadDir(d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the versions of %s: %w", d.Name, err)
	}
	var versions []string
	for _, e := range entries {
		if e.IsDir() && d.Complete(e.Name()) {
			versions = append(versions, e.Name())
		}
	}
	slices.Sort(versions)
	return versions, nil
}

func (d Dir) file(name ...string) string {
	return filepath.Join(append([]string{d.Path}, name...)...)
}

func (d Dir) claimWritable(version string) error {
	for _, path := range []string{d.Path, d.file(version)} {
		err := unix.Access(path, unix.R_OK|unix.W_OK|unix.X_OK)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return claimError(d.Name, fmt.Errorf("%s is not the new user's to write (%w); give it to the user with chown -R, or have another workDir", path, err))
		}
	}
	return nil
}

func claimError(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot run %s as another user in the same place: %w", name, err)
}

// Deactivate removes .version: nothing shall run.
func (d Dir) Deactivate() error {
	err := os.Remove(d.file(versionFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot deactivate %s: %w", d.Name, err)
	}
	return atomicfile.SyncDir(d.Path)
}
