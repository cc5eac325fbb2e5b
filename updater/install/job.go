// Package install brings one version of an agent onto the disk: it downloads
// the release, verifies it, unpacks it and puts it in its place. It runs in the
// short-lived child, as the agent's own user, and touches nothing outside the
// agent's directory:
//
//	{dir}/.part-{name}-{version}        what has been downloaded so far
//	{dir}/.part-{name}-{version}.json   where it came from, for resuming
//	{dir}/.staging-{version}/           the tree while it is not complete or not proven
//	{dir}/{version}/                    a complete, verified, synced release
//
// The tarball is read once: while its bytes arrive they are written to the
// part, hashed, decompressed and unpacked into the staging directory, all at
// the same time. Nothing of it is believed until the digest has been compared;
// only then is the tree synced and renamed, so that a directory named like a
// version is always complete. A download that was cut goes on where it stopped,
// within a run and, through the part, after a crash.
package install

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/unpack"
	"github.com/ops-updater/ops-updater/meta"
)

// Job says which release to install, where, and within which limits.
type Job struct {
	Agent    string
	Version  string
	Dir      string   // the agent's directory, {workDir}/{name}, absolute; made when missing
	Tarballs []string // complete URLs of the same file, tried in order
	MD5      string   // hex digest, or empty
	SHA256   string   // hex digest, or empty
	MD5URL   string   // of the md5sum-format file, read when neither digest is given
	Size     int64    // bytes of the tarball as announced; 0: unknown
	Config   *Config  // put into the version directory before it appears; nil: none
	Limits   Limits
	Route    Route
}

// Route is how servers are reached and whom we believe to be one.
type Route struct {
	Proxy    string // URL; empty: as the environment says
	CA       string // PEM of authorities that are believed beside the system's
	Insecure bool   // certificates are not verified
}

// Config is a file whose content is kept on a server.
type Config struct {
	FileName string // plain name in the version directory
	URL      string
	Route    Route // of [FetchConfig]
}

// Limits bound what an install may cost. Package config has their defaults.
type Limits struct {
	MaxDownload  int64         // bytes of the tarball
	MaxUnpacked  int64         // bytes of the decompressed stream
	MaxFiles     int           // entries of the archive
	MaxConfig    int64         // bytes of a remote configuration
	Reserve      int64         // bytes to leave free on the filesystem
	MaxRate      int64         // bytes per second; 0: unlimited
	StallTimeout time.Duration // how long a server may send next to nothing
	Retries      int           // tries after passing errors without progress
	SyncTimeout  time.Duration // how long one syncfs may take before files are synced one by one
}

func (l Limits) validate() error {
	if min(l.MaxDownload, l.MaxUnpacked, int64(l.MaxFiles), l.MaxConfig) <= 0 || min(l.StallTimeout, l.SyncTimeout) <= 0 {
		return fmt.Errorf("a limit is missing: %+v", l)
	}
	if min(l.Reserve, l.MaxRate, int64(l.Retries)) < 0 {
		return fmt.Errorf("a limit is negative: %+v", l)
	}
	return nil
}

func (l Limits) unpack() unpack.Limits {
	u := unpack.DefaultLimits()
	u.MaxBytes, u.MaxFiles = l.MaxUnpacked, l.MaxFiles
	return u
}

// validate checks everything that becomes a path or decides about trust, also
// when the caller has done so before.
func (j Job) validate() error {
	switch {
	case !meta.ValidName(j.Agent):
		return fmt.Errorf("agent %q is not a name", j.Agent)
	case !meta.ValidName(j.Version):
		return fmt.Errorf("version %q is not a name", j.Version)
	case !filepath.IsAbs(j.Dir) || filepath.Clean(j.Dir) != j.Dir:
		return fmt.Errorf("directory %q is not absolute and clean", j.Dir)
	case j.Size < 0:
		return fmt.Errorf("size %d is negative", j.Size)
	case j.MD5 != "" && !isHex(j.MD5, 32):
		return fmt.Errorf("md5 %q is not 32 hex digits", j.MD5)
	case j.SHA256 != "" && !isHex(j.SHA256, 64):
		return fmt.Errorf("sha256 %q is not 64 hex digits", j.SHA256)
	}
	if j.Config != nil {
		if err := j.Config.validate(); err != nil {
			return err
		}
	}
	return j.Limits.validate()
}

func (c Config) validate() error {
	if !meta.ValidName(c.FileName) || c.FileName == unpack.ControlName {
		return fmt.Errorf("configuration file name %q is not allowed", c.FileName)
	}
	return nil
}

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(strings.ToLower(s), "0123456789abcdef") == ""
}

// Result is what an install ended with.
type Result struct {
	MD5     string // of the tarball, lower-case hex; empty when Present
	SHA256  string // of the tarball, lower-case hex; empty when Present
	Files   int    // regular files and links
	Bytes   int64  // of their content
	Present bool   // the version was complete already; nothing was downloaded
}

// Progress is how far an install is.
type Progress struct {
	Phase meta.Phase // PhaseDownloading, then PhaseStaging
	Done  int64      // bytes downloaded, or unpacked
	Total int64      // 0: unknown
}
