package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/trust"
)

func TestPoliciesThatAreNone(t *testing.T) {
	for text, want := range map[string]string{
		`{"agents": []}`:                              "policy.agents: the list is empty",
		`{"agents": ["a/b"]}`:                         `"a/b" is not a pattern`,
		`{"agents": ["["]}`:                           `"[" is not a pattern`,
		`{"run_users": ["0"]}`:                        `"0" is not a user name`,
		`{"work_dirs": ["opt"]}`:                      `"opt" is not an absolute`,
		`{"work_dirs": ["/opt/../etc"]}`:              "is not an absolute, clean path",
		`{"tarball_hosts": ["http://a"]}`:             `"http://a" is not a host`,
		`{"tarball_hosts": ["*.a:80"]}`:               "is not a host",
		`{"downgrade": "no"}`:                         "want true or false",
		`{"min_versions": {"falcon": "new"}}`:         `"new" is not a version`,
		`{"min_versions": {"a/b": "1"}}`:              `"a/b" is not an agent's name`,
		`{"windows": []}`:                             "want 1 to 100 windows",
		`{"windows": "Mon-Fri"}`:                      "hours are wanted",
		`{"windows": "Mo 01:00-02:00"}`:               "neither days nor hours",
		`{"windows": "01:00-01:00"}`:                  "its end is no time",
		`{"windows": "24:00-01:00"}`:                  "no day has the time",
		`{"windows": "01:00-25:00"}`:                  "its end is no time",
		`{"windows": "01:60-02:00"}`:                  "no day has the time",
		`{"windows": "01:00-02:00 Mars/Olympus"}`:     "knows no time zone",
		`{"windows": "Mon 01:00-02:00 UTC and more"}`: "a time zone at most",
		`{"window": "01:00-02:00"}`:                   `did you mean "policy.windows"?`,
	} {
		_, err := load(t, fmt.Sprintf(`{"server": "a:1", "policy": %s}`, text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestAPolicyIsRead(t *testing.T) {
	c, err := load(t, `{"server": "a:1", "policy": {"downgrade": false, "agents": ["falcon-*"], "windows": ["Fri-Mon,Wed 22:30-04:00 UTC", "00:00-24:00"]}}`)
	if err != nil {
		t.Fatal(err)
	}
	w := c.Policy.Windows[0]
	if want := [7]bool{true, true, false, true, false, true, true}; w.Days != want || w.From != 22*time.Hour+30*time.Minute || w.To != 4*time.Hour || w.Zone != time.UTC {
		t.Errorf("read as %+v", w)
	}
	if w := c.Policy.Windows[1]; w.To != 24*time.Hour || w.Zone != time.Local || w.Days[3] != true {
		t.Errorf("read as %+v", w)
	}
	if !c.Policy.NoDowngrade || len(c.Policy.Agents) != 1 {
		t.Errorf("read as %+v", c.Policy)
	}
}

func TestTrustIsRead(t *testing.T) {
	key, err := trust.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	public := key.Public()
	file := filepath.Join(t.TempDir(), "release.pub")
	if err := os.WriteFile(file, []byte(public.File()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprintf(`{"releases": "require", "release_keys": %q}`, public),
		fmt.Sprintf(`{"releases": "require", "release_keys": [%q]}`, file),
		fmt.Sprintf(`{"mode": "require", "desired": "off", "configs": "off", "release_keys": [%q]}`, public),
	} {
		c, err := load(t, `{"server": "a:1", "trust": `+text+`}`)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if c.Trust.Releases != meta.TrustRequire || c.Trust.Desired != meta.TrustOff || c.Trust.Configs != meta.TrustOff || len(c.Trust.Anchors.Releases) != 1 || c.Trust.Anchors.Releases[0] != public {
			t.Errorf("%s: read as %+v", text, c.Trust)
		}
	}
	for text, want := range map[string]string{
		`{"mode": "require"}`:                             "trust.releases is require, but no key could be believed",
		`{"desired": "warn"}`:                             "trust.desired is warn, but no key could be believed",
		`{"mode": "on"}`:                                  `trust.mode: want one of`,
		`{"root_keys": "RWxx"}`:                           "is not a minisign public key",
		`{"root_keys": "gone.pub"}`:                       "gone.pub",
		fmt.Sprintf(`{"root_keys": [%q, %[1]q]}`, public): "is listed twice",
	} {
		_, err := load(t, `{"server": "a:1", "trust": `+text+`}`)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	c, err := load(t, fmt.Sprintf(`{"server": "a:1", "trust": {"root_keys": %q}}`, public))
	if err != nil || !strings.Contains(strings.Join(c.Warnings(), "\n"), "verifies nothing") {
		t.Errorf("keys without a mode: %v, %q", err, c.Warnings())
	}
}
