package config_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/updater/config"
)

func TestAReloadCountsOnlyWhenEverybodyCanUseIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cfg.json")
	const first = `{"server": "meta.example:2000", "hostname": "a"}`
	writeFile(t, path, first)
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var problems []string
	current := config.NewCurrent(c, func(why string) { problems = append(problems, why) })
	fine := func(config.Config) error { return nil }
	steps := []struct {
		name, text string
		use        func(config.Config) error
		hostname   string   // that counts afterwards
		restart    []string // keys
		problem    string   // a part of it
	}{
		{"changed", `{"server": "meta.example:2000", "hostname": "b"}`, fine, "b", nil, ""},
		{"a mistake", `{"server": "meta.example:2000", "hostnam": "c"}`, fine, "b", nil, `did you mean "hostname"?`},
		{"the same mistake", `{"server": "meta.example:2000", "hostnam": "c"}`, fine, "b", nil, `did you mean "hostname"?`},
		{"nobody can use it", `{"server": "meta.example:2000", "hostname": "c"}`, func(config.Config) error { return errors.New("no such CA") }, "b", nil, "no such CA"},
		{"mended, and moved", `{"server": "meta.example:2000", "hostname": "d", "var_dir": "elsewhere", "log": {"max_backups": 1}}`, fine, "d", []string{"var_dir", "log"}, ""},
	}
	for _, s := range steps {
		writeFile(t, path, s.text)
		next, restart, err := current.Reload(s.use)
		if (err != nil) != (s.problem != "") || !slices.Equal(restart, s.restart) {
			t.Errorf("%s: %v; restart %v, want %v", s.name, err, restart, s.restart)
		}
		if now := current.Config(); now.Hostname != s.hostname || next.Hostname != s.hostname || now.VarDir != c.VarDir {
			t.Errorf("%s: counts %s in %s; want %s in %s", s.name, now.Hostname, now.VarDir, s.hostname, c.VarDir)
		}
		if got := current.Problem(); (got == "") != (s.problem == "") || !strings.Contains(got, s.problem) {
			t.Errorf("%s: problem %q; want %q", s.name, got, s.problem)
		}
	}
	if len(problems) != 3 || problems[2] != "" { // each one once, and its end
		t.Errorf("told of %q", problems)
	}
}
