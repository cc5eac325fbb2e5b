package updater_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

func TestI2AJournalThatCannotBeReadIsRebuiltFromTheDisk(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "{", "\x00\x00\x00", `{"name":"other"}`, "[]"} {
		t.Run(strconv.Quote(content), func(t *testing.T) {
			h := newHost(t)
			h.boot()
			a := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
			h.apply(a)
			h.runs("falcon", "1.0.0")
			h.halt()
			for _, file := range []string{"journal/falcon.json", "desired.json", "holds.json"} {
				agenttest.Write(t, filepath.Join(h.cfg.VarDir, file), content, 0o600)
			}
			h.boot()
			h.apply(h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{}))
			h.runs("falcon", "1.0.1")
			h.checkRunning("falcon", "1.0.1")
			aside, err := filepath.Glob(filepath.Join(h.cfg.VarDir, "journal/falcon.json.corrupt-*"))
			if err != nil || len(aside) != 1 {
				t.Errorf("set aside: %v, %v", aside, err)
			}
		})
	}
}

func TestI2AVarDirectoryThatSomebodyClearsMeanwhileIsMadeAgain(t *testing.T) {
	h := newHost(t)
	h.boot()
	h.apply(h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
	h.runs("falcon", "1.0.0")
	// The sidecar may write into it while it is being removed.
	err := os.RemoveAll(h.cfg.VarDir)
	for tries := 0; err != nil && tries < 1000; tries++ {
		err = os.RemoveAll(h.cfg.VarDir)
	}
	must(t, err)
	h.apply(h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{}))
	h.runs("falcon", "1.0.1")
	if fi, err := os.Stat(filepath.Join(h.cfg.VarDir, "journal")); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("journal: %v, %v; want it private", fi, err)
	}
}

func TestI7LostHoldsAreReported(t *testing.T) {
	h := newHost(t)
	h.boot()
	h.apply(h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
	h.runs("falcon", "1.0.0")
	must(t, h.engine.Hold("falcon", "disk is being replaced"))
	h.halt()
	agenttest.Write(t, filepath.Join(h.cfg.VarDir, "holds.json"), "{", 0o600)
	h.boot()
	h.await("falcon", "said that holds are lost", func(a meta.RealAgent) bool { return strings.Contains(a.Error, "holds are lost") })
	must(t, h.engine.Hold("falcon", "disk is being replaced"))
	h.await("falcon", "held again", func(a meta.RealAgent) bool { return a.Held && a.Error == "" })
}

func TestI2NothingIsStoppedWhileTheJournalCannotBeWritten(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.boot()
	h.apply(h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
	h.runs("falcon", "1.0.0")
	// A directory that is not empty cannot be renamed over, as little as a full disk.
	file := filepath.Join(h.cfg.VarDir, "journal/falcon.json")
	must(t, os.Remove(file))
	agenttest.Write(t, filepath.Join(file, "occupied"), "", 0o600)
	h.apply(h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{}))
	a := h.await("falcon", "failed", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseFailed })
	if !strings.Contains(a.Error, "cannot write the journal") {
		t.Errorf("report: %+v", a)
	}
	h.checkRunning("falcon", "1.0.0")
	if events := noted(t, h.agentDir("falcon"), 1); len(events) != 1 {
		t.Errorf("the agent was disturbed: %+v", events)
	}
	must(t, os.RemoveAll(file))
	must(t, h.engine.Clear("falcon"))
	h.runs("falcon", "1.0.1")
}

func TestTheLastReplyHoldsWithoutAServer(t *testing.T) {
	h := newHost(t)
	h.boot()
	h.apply(h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
	h.runs("falcon", "1.0.0")
	h.halt()
	h.origin.Close()
	agenttest.Kill(t, h.agentDir("falcon"))
	h.boot()
	h.runs("falcon", "1.0.0")
	h.checkRunning("falcon", "1.0.0")
}

func TestI6ABadReplyTouchesNobodyElse(t *testing.T) {
	h := newHost(t)
	h.boot()
	good := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	noUser := good
	noUser.Name, noUser.RunUser = "homeless", "no-such-user"
	h.apply(good, noUser, meta.DesiredAgent{Name: "../etc", Version: "1", Cmd: "start"}, meta.DesiredAgent{Name: "rel", Version: "1", Cmd: "start", WorkDir: "x"})
	h.runs("falcon", "1.0.0")
	for name, want := range map[string]string{"../etc": "not allowed", "rel": "absolute", "homeless": "does not exist"} {
		if a := h.await(name, "was reported", func(a meta.RealAgent) bool { return a.Error != "" }); !strings.Contains(a.Error, want) || a.Phase != meta.PhaseFailed {
			t.Errorf("%s: %+v; want %q", name, a, want)
		}
	}
	h.apply(good)
	h.await("../etc", "was forgotten", func(a meta.RealAgent) bool { return a.Name == "" })
}

// underRoot is a host whose directories belong to root from the top.
func underRoot(t *testing.T) *host {
	t.Helper()
	h := newHost(t)
	dir, err := os.MkdirTemp("/opt", "ops-updater-test-")
	if err != nil {
		t.Skipf("SKIPPED: cannot work in /opt: %v", err)
	}
	must(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { h.halt(); _ = os.RemoveAll(dir) })
	agenttest.CleanUp(t, dir)
	h.cfg.DefaultWorkDir = filepath.Join(dir, "a/work")
	return h
}

func TestI4RootMakesADirectoryForAnotherUserAndNothingElse(t *testing.T) {
	u := agenttest.NeedUser(t)
	h := underRoot(t)
	h.boot()
	a := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	a.RunUser = u.Username
	h.apply(a)
	h.runs("falcon", "1.0.0")
	h.checkRunning("falcon", "1.0.0")
	for path, want := range map[string]string{h.cfg.DefaultWorkDir: "0", h.agentDir("falcon"): u.Uid, filepath.Join(h.agentDir("falcon"), "1.0.0/app"): u.Uid} {
		if got := ownerOf(t, path); got != want {
			t.Errorf("%s belongs to %s; want %s", path, got, want)
		}
	}
	if got := ownerOf(t, "/proc/"+strconv.Itoa(noted(t, h.agentDir("falcon"), 1)[0].Pid)); got != u.Uid {
		t.Errorf("the agent runs as %s; want %s", got, u.Uid)
	}

	// A user whose own directory lies in the way cannot lead root elsewhere.
	evil := a
	evil.Name, evil.WorkDir = "evil", filepath.Join(h.agentDir("falcon"), "link")
	target := t.TempDir()
	must(t, os.Symlink(target, evil.WorkDir))
	h.apply(a, evil)
	r := h.await("evil", "failed", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseFailed })
	if left, err := os.ReadDir(target); err != nil || len(left) > 0 {
		t.Errorf("root was led to %v, %v: %+v", left, err, r)
	}
}

func ownerOf(t *testing.T, path string) string {
	t.Helper()
	fi, err := os.Stat(path)
	must(t, err)
	return strconv.Itoa(int(fi.Sys().(*syscall.Stat_t).Uid))
}

func TestAnotherUserInTheSamePlaceNeedsItsFiles(t *testing.T) {
	u := agenttest.NeedUser(t)
	h := underRoot(t)
	h.cfg.CheckEvery = 100 * time.Millisecond
	h.boot()
	a := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	h.apply(a)
	h.runs("falcon", "1.0.0")
	a.RunUser = u.Username
	h.apply(a)
	r := h.await("falcon", "failed", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseFailed })
	if !strings.Contains(r.Error, "chown -R") || r.RunUser == u.Username {
		t.Errorf("report: %+v", r)
	}
	h.checkRunning("falcon", "1.0.0")

	uid, _ := strconv.Atoi(u.Uid)
	must(t, filepath.Walk(h.agentDir("falcon"), func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, uid)
	}))
	must(t, h.engine.Clear("falcon"))
	h.await("falcon", "changed its user", func(a meta.RealAgent) bool {
		return a.RunUser == u.Username && a.Phase == meta.PhaseIdle && a.Status == meta.StatusStarted
	})
	h.checkRunning("falcon", "1.0.0")
}

// A rollout must not wait for a host that will not even try.
func TestAReleaseThatFailedHereBeforeIsReportedAsFailedAtOnce(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.boot()
	bad := h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{BeforeStart: "echo 'no licence'; exit 1"})
	h.apply(h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
	h.runs("falcon", "1.0.0")
	h.apply(bad)
	h.await("falcon", "was rolled back", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseRolledBack })
	h.apply(h.origin.publish(t, "falcon", "1.0.2", agenttest.Habits{}))
	h.runs("falcon", "1.0.2")

	bad.Rollout = "r2"
	h.apply(bad)
	a := h.await("falcon", "failed", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseFailed })
	if a.Rollout != "r2" || a.DesiredVersion != "1.0.1" || !strings.Contains(a.Error, "1.0.1 is in quarantine after one failure") || !strings.Contains(a.Error, "no licence") {
		t.Errorf("report: %+v", a)
	}
	h.checkRunning("falcon", "1.0.2")
}

func TestAReleaseMadeAnewUnderItsOldNameLeavesQuarantine(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.boot()
	v1 := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	h.apply(v1)
	h.runs("falcon", "1.0.0")
	bad := h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{BeforeStart: "echo 'no licence'; exit 1"})
	bad.MD5 = "" // the server says where the digest is, not which it is
	h.apply(bad)
	h.await("falcon", "was rolled back", func(a meta.RealAgent) bool {
		return a.Phase == meta.PhaseRolledBack && strings.Contains(a.Error, "quarantine")
	})
	h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{App: ": mended"})
	h.runs("falcon", "1.0.1")
	h.checkRunning("falcon", "1.0.1")
}
