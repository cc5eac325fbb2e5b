package job

import (
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// Install says which release to install, where, and within which limits.
type Install struct {
	Agent    string
	Version  string
	Dir      string        // the agent's directory, {workDir}/{name}, absolute; made when missing
	Tarballs []string      // complete URLs of the same file, tried in order
	MD5      string        // hex digest, or empty
	SHA256   string        // hex digest, or empty
	MD5URL   string        // of the md5sum-format file, read when neither digest is given
	Size     int64         // bytes of the tarball as announced; 0: unknown
	Config   *RemoteConfig // put into the version directory before it appears; nil: none
	Limits   Limits
	Route    Route
	Verify   Verify // the tarball's signature
	// Anew: a version directory that is there proves nothing. The release is
	// downloaded and verified, and takes its place.
	Anew bool
}

// Verify is what becomes of something that the right key did not sign, and which
// keys are right.
type Verify struct {
	Mode meta.TrustMode // empty: off, no signature is asked for
	Keys trust.Keys     // that count now
	Arch string         // of a release: what its signature must be for
}

// Asks reports whether a signature is asked for.
func (v Verify) Asks() bool { return v.Mode == meta.TrustWarn || v.Mode == meta.TrustRequire }

// Proof is what a signature came to.
type Proof struct {
	Key  string `json:"key,omitempty"`  // id of the key that signed it; empty: nobody's signature was verified
	Code string `json:"code,omitempty"` // a [trust.Code]: why it was not verified and is used all the same ([meta.TrustWarn])
	Why  string `json:"why,omitempty"`  // the same for people
}

// Route is how servers are reached and whom we believe to be one.
type Route struct {
	Proxy    string   // URL; empty: as the environment says
	CA       string   // PEM of authorities that are believed beside the system's
	Insecure bool     // certificates are not verified
	Hosts    []string // that redirects may lead to, as plan.Policy.TarballHosts has them; empty: all
}

// RemoteConfig is a file whose content is kept on a server.
type RemoteConfig struct {
	FileName string // plain name in the version directory
	URL      string
	Verify   Verify // its signature
	Route    Route  // of install.FetchConfig
	Agent    string // of install.FetchConfig: whose it is
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

// Installed is what an install ended with.
type Installed struct {
	MD5     string // of the tarball, lower-case hex; empty when Present
	SHA256  string // of the tarball, lower-case hex; empty when Present
	Files   int    // regular files and links
	Bytes   int64  // of their content
	Present bool   // the version was complete already; nothing was downloaded
	Proof   Proof  // of the tarball; zero when Present or when none was asked for
	Config  Proof  // of the remote configuration
}

// Progress is how far an install is.
type Progress struct {
	Phase meta.Phase // PhaseDownloading, then PhaseStaging
	Done  int64      // bytes downloaded, or unpacked
	Total int64      // 0: unknown
}
