package updater_test

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// give makes path another user's.
func give(t *testing.T, u *user.User, paths ...string) {
	t.Helper()
	uid, err := strconv.Atoi(u.Uid)
	must(t, err)
	for _, path := range paths {
		must(t, os.Lchown(path, uid, uid))
	}
}

// trap is a control script that leaves a mark when root runs it.
func trap(mark string) string {
	return "#!/bin/sh\n[ \"$(id -u)\" = 0 ] && echo \"$1\" >>" + mark + "\necho started\n"
}

func checkNotRun(t *testing.T, mark string) {
	t.Helper()
	if said, err := os.ReadFile(mark); err == nil {
		t.Errorf("root ran another user's script: %q", said)
	}
}

const unsafePlace = "unsafe-place"

func (h *host) awaitUnsafe(agent string) {
	h.t.Helper()
	h.await(agent, "left alone", func(a meta.RealAgent) bool { return a.Reason == unsafePlace })
}

func TestRootTouchesNothingBelowADirectoryOfAnotherUser(t *testing.T) {
	u := agenttest.NeedUser(t)
	h := underRoot(t)
	theirs := filepath.Dir(h.cfg.DefaultWorkDir)
	must(t, os.MkdirAll(h.cfg.DefaultWorkDir, 0o755))
	mark := filepath.Join(h.dir, "mark")
	h.boot()
	a := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	h.apply(a)
	h.runs("falcon", "1.0.0")

	// The directory above becomes another user's, who puts one of theirs into
	// its place.
	give(t, u, theirs)
	h.awaitUnsafe("falcon") // a look that began before has ended
	must(t, os.Rename(h.cfg.DefaultWorkDir, h.cfg.DefaultWorkDir+".old"))
	agenttest.Write(t, filepath.Join(h.agentDir("falcon"), "1.0.0/control"), trap(mark), 0o755)
	agenttest.Write(t, filepath.Join(h.agentDir("falcon"), ".version"), "1.0.0", 0o644)
	victim := filepath.Join(h.dir, "victim")
	agenttest.Write(t, victim, "precious", 0o600)
	must(t, os.Symlink(victim, filepath.Join(h.agentDir("falcon"), ".control.run")))
	must(t, os.Symlink(victim, filepath.Join(h.agentDir("falcon"), ".control.out")))
	r := h.await("falcon", "failed", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseFailed })
	if r.Reason != unsafePlace || !strings.Contains(r.Error, theirs+" belongs to "+u.Username) || !strings.Contains(r.Error, "such as one below") {
		t.Errorf("report: %+v", r)
	}
	h.apply(h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{}))
	h.await("falcon", "failed", func(a meta.RealAgent) bool { return a.DesiredVersion == "1.0.1" && a.Phase == meta.PhaseFailed })
	checkNotRun(t, mark)
	if text, err := os.ReadFile(victim); err != nil || string(text) != "precious" {
		t.Errorf("root wrote through a link: %q, %v", text, err)
	}
	agenttest.CleanUp(t, h.cfg.DefaultWorkDir+".old")
}

// TestAnotherNameOfRootIsRoot has a directory service know one.
func TestAnotherNameOfRootIsRoot(t *testing.T) {
	u := agenttest.NeedUser(t)
	h := underRoot(t)
	mark := filepath.Join(h.dir, "mark")
	service := filepath.Join(h.dir, "service")
	agenttest.Write(t, filepath.Join(service, "getent"), "#!/bin/sh\n[ \"$2\" = toor ] && echo toor:x:0:0::/root:/bin/sh\n", 0o755)
	agenttest.Write(t, filepath.Join(service, "id"), "#!/bin/sh\nexec /usr/bin/id -G root\n", 0o755)
	t.Setenv("PATH", service+":"+os.Getenv("PATH"))
	h.boot()
	a := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	a.RunUser = "toor"
	h.apply(a)
	h.runs("falcon", "1.0.0")
	a.RunUser = "root"
	h.apply(a)
	h.await("falcon", "is root's by its other name", func(r meta.RealAgent) bool {
		return r.RunUser == "root" && r.Status == meta.StatusStarted && r.Phase == meta.PhaseIdle
	})
	h.checkRunning("falcon", "1.0.0")
	a.RunUser = "toor"
	h.apply(a)
	h.await("falcon", "is toor's", func(r meta.RealAgent) bool {
		return r.RunUser == "toor" && r.Status == meta.StatusStarted && r.Phase == meta.PhaseIdle
	})
	give(t, u, filepath.Dir(h.cfg.DefaultWorkDir))
	h.awaitUnsafe("falcon") // a look that began before has ended
	agenttest.Write(t, filepath.Join(h.agentDir("falcon"), "1.0.0/control"), trap(mark), 0o755)
	r := h.await("falcon", "failed", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseFailed })
	if r.Reason != unsafePlace {
		t.Errorf("report: %+v", r)
	}
	checkNotRun(t, mark)
	for _, number := range []string{"0", "65534"} {
		a.RunUser = number
		h.apply(a)
		h.await("falcon", "refused the number "+number, func(r meta.RealAgent) bool { return strings.Contains(r.Error, "give the user's name") })
	}
	checkNotRun(t, mark)
}

func TestI3RootLeavesAPlaceThatOthersCanChangeByItself(t *testing.T) {
	u := agenttest.NeedUser(t)
	h := underRoot(t)
	mark := filepath.Join(h.dir, "mark")
	h.boot()
	a := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	h.apply(a)
	h.runs("falcon", "1.0.0")
	before := h.agentDir("falcon")
	give(t, u, filepath.Dir(h.cfg.DefaultWorkDir))
	h.awaitUnsafe("falcon") // a look that began before has ended
	agenttest.Write(t, filepath.Join(before, "1.0.0/control"), trap(mark), 0o755)

	a.WorkDir = filepath.Join(filepath.Dir(filepath.Dir(h.cfg.DefaultWorkDir)), "elsewhere")
	h.apply(a)
	r := h.await("falcon", "moved", func(r meta.RealAgent) bool {
		return r.WorkDir == a.WorkDir && r.Status == meta.StatusStarted && r.Phase == meta.PhaseIdle
	})
	if !strings.Contains(r.Error, "not to be trusted any more") {
		t.Errorf("report: %+v", r)
	}
	if got := agenttest.Running(t, before); len(got) > 0 {
		t.Errorf("%v runs on where it was", got)
	}
	if got := running(t, filepath.Join(a.WorkDir, "falcon"), 1); len(got) != 1 {
		t.Errorf("running where it is wanted: %v", got)
	}
	checkNotRun(t, mark)
}

func TestRootTakesOverNothingOfAnotherUser(t *testing.T) {
	u := agenttest.NeedUser(t)
	root := func(t *testing.T, path string) {
		must(t, filepath.Walk(path, func(path string, _ os.FileInfo, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, 0, 0)
		}))
	}
	cases := []struct {
		name string
		do   func(t *testing.T, dir string) // with what the other user had
		want string                         // of the error
	}{
		{"all of it", func(*testing.T, string) {}, "belongs to "},
		{"its version", func(t *testing.T, dir string) { root(t, dir); give(t, u, filepath.Join(dir, "1.0.0")) }, "belongs to "},
		{"its control script", func(t *testing.T, dir string) { root(t, dir); give(t, u, filepath.Join(dir, "1.0.0/control")) }, "belongs to "},
		{"its program", func(t *testing.T, dir string) { root(t, dir); give(t, u, filepath.Join(dir, "1.0.0/app")) }, "cannot run falcon as another user in the same place"},
		{"the name of its version", func(t *testing.T, dir string) { root(t, dir); give(t, u, filepath.Join(dir, ".version")) }, "belongs to "},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := underRoot(t)
			h.cfg.CheckEvery = time.Hour // the other user's child is not asked again
			h.boot()
			a := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{BeforeStart: `[ "$(id -u)" != 0 ] || echo root >>$agent/var-root`})
			a.RunUser = u.Username
			h.apply(a)
			h.runs("falcon", "1.0.0")
			dir := h.agentDir("falcon")
			c.do(t, dir)
			if c.name != "all of it" { // so that the old user can still be asked
				must(t, os.Chmod(dir, 0o777))
				t.Cleanup(func() { _ = os.Chmod(dir, 0o755) })
			}
			a.RunUser = "root"
			h.apply(a)
			must(t, os.Chmod(dir, 0o755))
			r := h.await("falcon", "failed", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseFailed })
			if r.Reason != unsafePlace || !strings.Contains(r.Error, c.want) {
				t.Errorf("report: %+v", r)
			}
			if _, err := os.Stat(filepath.Join(dir, "var-root")); err == nil {
				t.Error("root ran what it took over")
			}
			h.checkRunning("falcon", "1.0.0")
		})
	}
}

// The journal may be lost, or the server may name a directory that somebody
// has filled before.
func TestWhatSomebodyElsePutIntoTheWayIsNotRun(t *testing.T) {
	u := agenttest.NeedUser(t)
	other := u.Username
	for name, runUser := range map[string]string{"as root": "", "as root by name": "root", "as another user": other} {
		t.Run(name, func(t *testing.T) {
			h := underRoot(t)
			mark := filepath.Join(h.dir, "mark")
			dir := h.agentDir("falcon")
			agenttest.Write(t, filepath.Join(dir, "1.0.0/control"), trap(mark)+"id >>"+mark+"\n", 0o755)
			must(t, os.Chmod(h.dir, 0o755))
			must(t, os.WriteFile(mark+".any", nil, 0o666))
			third := &user.User{Uid: "4711"}
			if runUser == other {
				give(t, u, dir)
			}
			give(t, third, filepath.Join(dir, "1.0.0"), filepath.Join(dir, "1.0.0/control"))
			h.boot()
			a := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
			a.RunUser = runUser
			h.apply(a)
			r := h.await("falcon", "failed", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseFailed })
			if !strings.Contains(r.Error, "belongs to uid 4711") || r.Reason == "" {
				t.Errorf("report: %+v", r)
			}
			checkNotRun(t, mark)
		})
	}
}

// So do the ancestors' sidecars leave versions that root unpacked with the owners
// of the tarball.
func TestAForeignVersionOfRootsIsNamedByReportAndCheck(t *testing.T) {
	u := agenttest.NeedUser(t)
	for _, foreign := range []string{"1.0.0", "1.0.0/control"} {
		t.Run(foreign, func(t *testing.T) {
			h := underRoot(t)
			a := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
			h.boot()
			h.apply(a)
			h.runs("falcon", "1.0.0")
			give(t, u, filepath.Join(h.agentDir("falcon"), foreign))
			r := h.await("falcon", "refused", func(a meta.RealAgent) bool { return a.Reason == unsafePlace })
			if r.Version != "1.0.0" || !strings.Contains(r.Error, "belongs to "+u.Username) {
				t.Errorf("report: %+v", r)
			}
			h.checkRunning("falcon", "1.0.0")

			top := t.TempDir()
			write(t, filepath.Join(top, "cfg.json"), `{"server":"127.0.0.1:1","work_dir":"`+h.cfg.DefaultWorkDir+`"}`)
			must(t, os.MkdirAll(filepath.Join(top, "var"), 0o700))
			write(t, filepath.Join(top, "var/desired.json"), `{"agents":[{"name":"falcon","version":"1.0.0","cmd":"start"}]}`)
			c, err := config.Load(filepath.Join(top, "cfg.json"))
			must(t, err)
			warned := func(f updater.Finding) bool {
				return f.Verdict == updater.VerdictWarn && f.Name == "agent falcon" && strings.Contains(f.Detail, "belongs to "+u.Username)
			}
			if findings := updater.Check(t.Context(), c); !slices.ContainsFunc(findings, warned) {
				t.Errorf("check: %+v; want a warning of falcon", findings)
			}
		})
	}
}

func TestCheckWarnsOfPlacesThatOthersCanChange(t *testing.T) {
	u := agenttest.NeedUser(t)
	h := underRoot(t)
	top := filepath.Dir(filepath.Dir(h.cfg.DefaultWorkDir))
	must(t, os.MkdirAll(filepath.Join(top, "var"), 0o700))
	must(t, os.MkdirAll(filepath.Join(top, "theirs/agents"), 0o755))
	give(t, u, filepath.Join(top, "theirs"))
	write(t, filepath.Join(top, "cfg.json"), `{"server":"127.0.0.1:1","work_dir":"agents"}`)
	write(t, filepath.Join(top, "var/desired.json"), `{"agents":[
		{"name":"bad","version":"1","cmd":"start","workDir":"`+top+`/theirs/agents"},
		{"name":"named","version":"1","cmd":"start","runUser":"root","workDir":"`+top+`/theirs/agents"},
		{"name":"good","version":"1","cmd":"start"},
		{"name":"theirs","version":"1","cmd":"start","runUser":"`+u.Username+`","workDir":"`+top+`/theirs/agents"}]}`)
	c, err := config.Load(filepath.Join(top, "cfg.json"))
	must(t, err)
	warned := map[string]string{}
	for _, f := range updater.Check(t.Context(), c) {
		if f.Verdict == updater.VerdictWarn {
			warned[f.Name] = f.Detail + "; " + f.Mend
		}
	}
	for _, name := range []string{"place of bad", "place of named"} {
		if !strings.Contains(warned[name], "theirs belongs to "+u.Username) || !strings.Contains(warned[name], "is not touched") {
			t.Errorf("%s: %q", name, warned[name])
		}
	}
	for _, name := range []string{"place of good", "place of theirs", "var_dir", "work_dir", "configuration"} {
		if warned[name] != "" {
			t.Errorf("%s: %q; want no warning", name, warned[name])
		}
	}
	give(t, u, top)
	warned = map[string]string{}
	for _, f := range updater.Check(t.Context(), c) {
		warned[f.Name] += f.Detail
	}
	for _, name := range []string{"place of good", "var_dir", "work_dir", "configuration"} {
		if !strings.Contains(warned[name], "belongs to "+u.Username) {
			t.Errorf("%s: %q; want a warning", name, warned[name])
		}
	}
}
