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
	"github.com/ops-updater/ops-updater/meta/trust"
	"github.com/ops-updater/ops-updater/updater/job"
)

// configMode is for a configuration that the release does not bring itself;
// otherwise the file's mode is kept.
const configMode = 0o644

// FetchConfig brings the file in {dir}/{version} up to what the server has: in
// one step, or not at all. The digest that it returns is the sha256 of the content
// that is there now, as far as that is known, also with an error. What is there
// already is not verified again. It tries once: the next heartbeat comes soon.
// Every error is an [*Error].
func FetchConfig(ctx context.Context, dir, version string, c job.RemoteConfig, limits job.Limits) (r job.ConfigFetched, err error) {
	if err := errors.Join(checkConfig(c), checkLimits(limits)); err != nil {
		return r, failedForGood(CodeBadJob, "cannot fetch a configuration: %w", err)
	}
	if !meta.ValidName(version) || !filepath.IsAbs(dir) {
		return r, failedForGood(CodeBadJob, "cannot fetch a configuration: %q in %q is not a version's directory", version, dir)
	}
	if r, err = fetchConfig(ctx, filepath.Join(dir, version), c, limits); err != nil {
		return r, onDisk("fetch the configuration "+c.FileName, err)
	}
	return r, nil
}

func fetchConfig(ctx context.Context, dir string, c job.RemoteConfig, l job.Limits) (r job.ConfigFetched, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return r, err
	}
	defer root.Close() //nolint:errcheck // the file itself has been closed
	old, err := readSmall(root, c.FileName, l.MaxConfig)
	known := err == nil
	if known {
		r.Digest = sha256Of(old)
	}
	client, err := newClient(c.Route, l.StallTimeout)
	if err != nil {
		return r, err
	}
	defer client.GetClient().CloseIdleConnections()
	files := small{client: client, stall: l.StallTimeout}
	content, err := files.getFile(ctx, c.URL, l.MaxConfig)
	if err != nil || known && bytes.Equal(old, content) {
		return r, err
	}
	v := verifier{c.Verify, files, trust.Config(c.Agent, c.FileName)}
	if r.Proof, err = v.verifyContent(ctx, c.URL, content); err != nil {
		return r, err
	}
	if err := placeConfig(root, c.FileName, content, true); err != nil {
		return r, err
	}
	r.Changed, r.Digest = true, sha256Of(content)
	return r, nil
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
