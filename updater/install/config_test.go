package install_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/updater/install"
	"github.com/ops-updater/ops-updater/updater/job"
)

func TestConfigIsThereWhenTheVersionIs(t *testing.T) {
	r := newRelease(t, 1000)
	for _, name := range []string{"cfg.json", "empty"} { // a new file; one that the release brings
		j := testJob(t, r, serve(t, content(r.tarball)).URL)
		j.Config = &job.RemoteConfig{FileName: name, URL: serve(t, says(`{"a":1}`)).URL}
		if _, err := install.Run(t.Context(), j, nil); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(j.Dir, j.Version, name)); err != nil || string(b) != `{"a":1}` {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func TestI4InstallWithoutItsConfigIsNoInstall(t *testing.T) {
	r := newRelease(t, 1000)
	cases := map[string]struct {
		handler   http.HandlerFunc
		file      string
		reason    string
		permanent bool
	}{
		"missing":           {status(404), "cfg.json", install.CodeNotFound, true},
		"server down":       {status(500), "cfg.json", install.CodeServerError, false},
		"endless":           {endless, "cfg.json", install.CodeTooLarge, true},
		"is a directory":    {says("x"), "lib", install.CodeOccupied, false},
		"replaces control":  {says("x"), "control", install.CodeBadJob, true},
		"outside":           {says("x"), "../cfg.json", install.CodeBadJob, true},
		"hidden, so .part-": {says("x"), ".part-x", install.CodeBadJob, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := testJob(t, r, serve(t, content(r.tarball)).URL)
			j.Config = &job.RemoteConfig{FileName: c.file, URL: serve(t, c.handler).URL}
			_, err := install.Run(t.Context(), j, nil)
			mustFail(t, err, c.reason, c.permanent)
			if _, err := os.Stat(filepath.Join(j.Dir, j.Version)); err == nil {
				t.Error("the version is there without its configuration")
			}
		})
	}
}

// TestI6FetchConfigReplacesOrLeaves changes the server's content and has the
// server fail; the file is always whole.
func TestI6FetchConfigReplacesOrLeaves(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "1.0.0", "cfg.json")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name    string
		answer  http.HandlerFunc
		changed bool
		reason  string
		want    string
	}{
		{"first", says("one"), true, "", "one"},
		{"the same", says("one"), false, "", "one"},
		{"changed", says("two"), true, "", "two"},
		{"server down", status(502), false, install.CodeServerError, "two"},
		{"gone", status(404), false, install.CodeNotFound, "two"},
		{"too large", says(strings.Repeat("x", 2000)), false, install.CodeTooLarge, "two"},
		{"cut", lying([]byte("thr"), 10), false, install.CodeUnreachable, "two"},
		{"stalls", stalling([]byte(strings.Repeat("x", 500)), 1), false, install.CodeStalled, "two"},
		{"back again", says("three"), true, "", "three"},
	}
	for _, s := range steps {
		l := testLimits()
		l.MaxConfig = 1000
		if s.reason == install.CodeStalled {
			l.StallTimeout = haste
		}
		fetched, err := install.FetchConfig(t.Context(), dir, "1.0.0", job.RemoteConfig{FileName: "cfg.json", URL: serve(t, s.answer).URL}, l)
		if (s.reason == "") != (err == nil) || fetched.Changed != s.changed {
			t.Errorf("%s: changed %v, %v", s.name, fetched.Changed, err)
		}
		if s.reason != "" {
			mustFail(t, err, s.reason, s.reason == install.CodeNotFound || s.reason == install.CodeTooLarge)
		}
		b, err := os.ReadFile(file)
		if _, want := sums(b); err != nil || string(b) != s.want || fetched.Digest != want {
			t.Errorf("%s: content %q, %v; digest %s, want %s", s.name, b, err, fetched.Digest, want)
		}
		mustHold(t, filepath.Dir(file), "cfg.json")
	}
}

func TestFetchConfigGoesThroughTheProxy(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "1.0.0"), 0o755); err != nil {
		t.Fatal(err)
	}
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.URL.Host)) })
	c := job.RemoteConfig{FileName: "cfg.json", URL: "http://releases.invalid/cfg.json", Route: job.Route{Proxy: proxy.URL}}
	if _, err := install.FetchConfig(t.Context(), dir, "1.0.0", c, testLimits()); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "1.0.0", "cfg.json")); string(b) != "releases.invalid" {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestFetchConfigFollowsNoLinkOut(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = os.Mkdir(filepath.Join(dir, "1.0.0"), 0o755)
	_ = os.Symlink(outside, filepath.Join(dir, "1.0.0", "cfg.json"))
	_ = os.Symlink(filepath.Dir(outside), filepath.Join(dir, "2.0.0"))
	c := job.RemoteConfig{FileName: "cfg.json", URL: serve(t, says("theirs")).URL}
	if fetched, err := install.FetchConfig(t.Context(), dir, "1.0.0", c, testLimits()); err != nil || !fetched.Changed {
		t.Errorf("a link in its place: %v, %v", fetched.Changed, err)
	}
	if b, _ := os.ReadFile(outside); string(b) != "mine" {
		t.Errorf("the file outside is now %q", b)
	}
	for _, version := range []string{"9.9.9", "..", "a/b"} {
		if _, err := install.FetchConfig(t.Context(), dir, version, c, testLimits()); err == nil {
			t.Errorf("version %q is accepted", version)
		}
	}
}
