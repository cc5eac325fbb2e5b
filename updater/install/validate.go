package install

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/ops-updater/ops-updater/internal/unpack"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/job"
)

func checkLimits(l job.Limits) error {
	if min(l.MaxDownload, l.MaxUnpacked, int64(l.MaxFiles), l.MaxConfig) <= 0 || min(l.StallTimeout, l.SyncTimeout) <= 0 {
		return fmt.Errorf("a limit is missing: %+v", l)
	}
	if min(l.Reserve, l.MaxRate, int64(l.Retries)) < 0 {
		return fmt.Errorf("a limit is negative: %+v", l)
	}
	return nil
}

func unpackLimits(l job.Limits) unpack.Limits {
	u := unpack.DefaultLimits()
	u.MaxBytes, u.MaxFiles = l.MaxUnpacked, l.MaxFiles
	return u
}

// checkJob checks everything that becomes a path or decides about trust, also
// when the caller has done so before.
func checkJob(j job.Install) error {
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
		if err := checkConfig(*j.Config); err != nil {
			return err
		}
	}
	if err := checkVerify(j.Verify, true); err != nil {
		return err
	}
	return checkLimits(j.Limits)
}

func checkConfig(c job.RemoteConfig) error {
	if !meta.ValidName(c.FileName) || c.FileName == unpack.ControlName {
		return fmt.Errorf("configuration file name %q is not allowed", c.FileName)
	}
	return checkVerify(c.Verify, false)
}

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(strings.ToLower(s), "0123456789abcdef") == ""
}
