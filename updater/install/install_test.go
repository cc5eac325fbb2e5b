package install_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/install"
	"github.com/ops-updater/ops-updater/updater/job"
)

func TestRunInstallsTheRelease(t *testing.T) {
	r := newRelease(t, 3<<20)
	server := serve(t, content(r.tarball))
	j := testJob(t, r, server.URL+"/agent-1.0.0.tar.gz")
	j.SHA256, j.Size = strings.ToUpper(r.sha256), int64(len(r.tarball))
	var phases []meta.Phase
	var last job.Progress
	res, err := install.Run(t.Context(), j, func(p job.Progress) {
		if len(phases) == 0 || phases[len(phases)-1] != p.Phase {
			phases = append(phases, p.Phase)
		}
		if p.Phase == meta.PhaseDownloading {
			last = p
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	r.mustBe(t, j)
	if res.MD5 != r.md5 || res.SHA256 != r.sha256 || res.Files != len(r.files)+2 || res.Present {
		t.Errorf("result %+v", res)
	}
	if len(phases) != 2 || phases[0] != meta.PhaseDownloading || phases[1] != meta.PhaseStaging || last.Done != last.Total || last.Total != j.Size {
		t.Errorf("progress %v, last of the download %+v", phases, last)
	}
	j.Tarballs = nil // what is there needs no address
	again, err := install.Run(t.Context(), j, nil)
	if err != nil || !again.Present || len(server.header("Range")) != 1 {
		t.Errorf("second run: %+v, %v, %d requests", again, err, len(server.header("Range")))
	}
}

func TestModesAndTimesOfAReleaseAreSane(t *testing.T) {
	r := newRelease(t, 1000)
	j := testJob(t, r, serve(t, content(r.tarball)).URL)
	if _, err := install.Run(t.Context(), j, nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"control": 0o755, "empty": 0o644, "lib/a0": 0o755 | os.ModeDir, "lib": 0o755 | os.ModeDir} {
		fi, err := os.Stat(filepath.Join(j.Dir, j.Version, name))
		if err != nil || fi.Mode() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, fi.Mode(), err, want)
		}
		if name != "lib" && !fi.ModTime().Equal(stamp) {
			t.Errorf("%s: time %v, want %v", name, fi.ModTime(), stamp)
		}
	}
	if to, err := os.Readlink(filepath.Join(j.Dir, j.Version, "lib/current")); err != nil || to != "a1/b" {
		t.Errorf("link: %q, %v", to, err)
	}
}
