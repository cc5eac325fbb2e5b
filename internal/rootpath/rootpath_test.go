package rootpath_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/internal/rootpath"
)

// other is a user that is not root.
const other = 65534

// top is a directory of root's that nobody else can change.
func top(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: this test gives files to another user, as root")
	}
	dir, err := os.MkdirTemp("/opt", "ops-updater-rootpath-")
	if err != nil {
		t.Skipf("SKIPPED: cannot work in /opt: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	dir := top(t)
	make := func(path string, mode os.FileMode, uid int) {
		path = filepath.Join(dir, path)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.Mkdir(path, 0o755))
		must(t, os.Chmod(path, mode))
		must(t, os.Chown(path, uid, uid))
	}
	link := func(target, path string, uid int) {
		path = filepath.Join(dir, path)
		must(t, os.Symlink(target, path))
		must(t, os.Lchown(path, uid, uid))
	}
	make("good", 0o755, 0)
	make("good/below", 0o700, 0)
	make("theirs", 0o755, other)
	make("theirs/roots", 0o755, 0)
	make("open", 0o777, 0)
	make("open/roots", 0o755, 0)
	make("group", 0o775, 0)
	make("sticky", 0o777|os.ModeSticky, 0)
	make("sticky/roots", 0o755, 0)
	make("sticky/theirs", 0o755, other)
	make("theirsticky", 0o777|os.ModeSticky, other)
	make("theirsticky/roots", 0o755, 0)
	link("good", "link", 0)
	link(filepath.Join(dir, "theirs"), "out", 0)
	link("good/../theirs/roots", "dots", 0)
	link("good", "theirlink", other)
	link(filepath.Join(dir, "good"), "sticky/theirlink", other)
	link("loop", "loop", 0)
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))

	for path, want := range map[string]string{
		"good/below":             "",
		"good/below/not/there":   "",
		"link/below":             "",
		"sticky/roots":           "",
		"sticky/roots/not-there": "",
		"theirs":                 "theirs belongs to",
		"theirs/roots":           "theirs belongs to",
		"open":                   "open can be written by others",
		"open/roots":             "open can be written by others",
		"group/x":                "group can be written by others",
		"sticky":                 "can be written by everybody",
		"sticky/not-there":       "",
		"sticky/theirs":          "belongs to",
		"sticky/theirlink/below": "is a link of",
		"theirsticky/roots":      "theirsticky belongs to",
		"out/roots":              "theirs belongs to",
		"dots":                   "theirs belongs to",
		"theirlink/below":        "theirlink is a link of",
		"loop/x":                 "too many links",
		"file/x":                 "file is not a directory",
	} {
		err := rootpath.Check(filepath.Join(dir, path))
		e, unsafe := errors.AsType[*rootpath.Error](err)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v; want it to be right", path, err)
		case want != "" && (!unsafe || !strings.Contains(err.Error(), want) || e.Mend == ""):
			t.Errorf("%s: %v; want %q and what mends it", path, err, want)
		}
	}
}

func TestCheckTreeFindsWhatSomebodyElseLeft(t *testing.T) {
	cases := []struct {
		name string
		uid  int // who takes over
		do   func(file string) error
		want string
	}{
		{"root's own", 0, func(string) error { return nil }, ""},
		{"a file of theirs", 0, func(file string) error { return os.Chown(file, other, 0) }, "belongs to"},
		{"a file they can write", 0, func(file string) error { return os.Chmod(file, 0o666) }, "can be written by others"},
		{"a link of theirs", 0, func(file string) error {
			return errors.Join(os.Remove(file), os.Symlink("/", file), os.Lchown(file, other, 0))
		}, "belongs to"},
		{"root's, for another user", 7, func(string) error { return nil }, ""},
		{"a third user's, for another user", 7, func(file string) error { return os.Chown(file, other, 0) }, "belongs to"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := top(t)
			file := filepath.Join(dir, "a/b/file")
			must(t, os.MkdirAll(filepath.Dir(file), 0o755))
			must(t, os.WriteFile(file, nil, 0o644))
			must(t, c.do(file))
			err := rootpath.CheckTree(dir, c.uid)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %q", err, c.want)
			}
		})
	}
}
