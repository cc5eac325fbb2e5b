package install

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/job"
)

// configMode is for a configuration that the release does not bring itself;
// otherwise the file's mode is kept.
const configMode = 0o644

// FetchConfig brings the file in {dir}/{version} up to what the server has: in
// one step, or not at all. changed is true when the content is another one than
// before; digest is the sha256 of the content that is there now, as far as that
// is known. It tries once: the next heartbeat comes soon. Every error is an
// [*Error].
func FetchConfig(ctx context.Context, dir, version string, c job.RemoteConfig, limits job.Limits) (changed bool, digest string, err error) {
	if err := errors.Join(checkConfig(c), checkLimits(limits)); err != nil {
		return false, "", failedForGood(CodeBadJob, "cannot fetch a configuration: %w", err)
	}
	if !meta.ValidName(version) || !filepath.IsAbs(dir) {
		return false, "", failedForGood(CodeBadJob, "cannot fetch a configuration: %q in %q is not a version's directory", version, dir)
	}
	changed, digest, err = fetchConfig(ctx, filepath.Join(dir, version), c, limits)
	if err != nil {
		return false, digest, onDisk("fetch the configuration "+c.FileName, err)
	}
	return changed, digest, nil
}

func fetchConfig(ctx context.Context, dir string, c job.RemoteConfig, l job.Limits) (changed bool, digest string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false, "", err
	}
	defer root.Close() //nolint:errcheck // the file itself has been closed
	old, err := readSmall(root, c.FileName, l.MaxConfig)
	known := err == nil
	if known {
		digest = sha256Of(old)
	}
	client, err := newClient(c.Route, l.StallTimeout)
	if err != nil {
		return false, digest, err
	}
	defer client.GetClient().CloseIdleConnections()
	content, err := small{client: client, stall: l.StallTimeout}.getFile(ctx, c.URL, l.MaxConfig)
	if err != nil || known && bytes.Equal(old, content) {
		return false, digest, err
	}
	if err := placeConfig(root, c.FileName, content, true); err != nil {
		return false, digest, err
	}
	return true, sha256Of(content), nil
}

func sha256Of(content []byte) string {
	s := sha256.Sum256(content)
	return hex.EncodeToString(s[:])
}

// placeConfig replaces name in root, whatever it is, unless it is a directory.
func placeConfig(root *os.Root, name string, content []byte, durable bool) error {
	mode := fs.FileMode(configMode)
	switch fi, err := root.Lstat(name); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case fi.IsDir():
		return failedBecause(CodeOccupied, "cannot place the configuration: %s is a directory in this release", name)
	case fi.Mode().IsRegular():
		mode = fi.Mode().Perm()
	}
	if err := replaceFile(root, name, content, mode, durable); err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	return nil
}
