package updater_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
	"github.com/ops-updater/ops-updater/updater/plan"
)

func TestInstallUpgradeDowngradeStop(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	v1 := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	v2 := h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{})
	h.boot()

	h.apply(v1)
	h.runs("falcon", "1.0.0")
	h.checkRunning("falcon", "1.0.0")

	h.apply(v2)
	a := h.runs("falcon", "1.0.1")
	h.checkRunning("falcon", "1.0.1")
	if a.PreviousVersion != "1.0.0" || a.DesiredVersion != "1.0.1" || a.Error != "" {
		t.Errorf("report after the upgrade: %+v", a)
	}

	h.apply(v1)
	h.runs("falcon", "1.0.0")
	h.checkRunning("falcon", "1.0.0")

	v1.Cmd = meta.CmdStop
	h.apply(v1)
	h.await("falcon", "stopped", func(a meta.RealAgent) bool { return a.Status == meta.StatusStopped && a.Version == "1.0.0" })
	h.checkRunning("falcon")

	v1.Cmd = meta.CmdStart
	h.apply(v1)
	h.runs("falcon", "1.0.0")
	h.checkRunning("falcon", "1.0.0")
}

func TestI2AReleaseThatFailsIsRolledBack(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		bad  agenttest.Habits
		want string // in the reason
	}{
		{"start fails", agenttest.Habits{BeforeStart: "echo 'no licence'; exit 1"}, "no licence"},
		{"dies right after start", agenttest.Habits{BeforeStart: "(sleep 0.2; echo 'panic: bad flag') & exit 0"}, "panic: bad flag"},
		{"start hangs", agenttest.Habits{BeforeStart: "echo 'loading'; sleep 300"}, "did not return"},
		{"dies in probation", agenttest.Habits{App: onceLookedAt + "note down; exit 1"}, "probation"},
		{"restarts itself in probation", agenttest.Habits{App: onceLookedAt + `
			note down
			[ -e var/again ] || { touch var/again; exec 9>&-; setsid ./app >>var/app.log 2>&1 </dev/null & echo $! >var/app.pid; exit 0; }`}, "pid changed"},
		{"not healthy", agenttest.Habits{Health: "echo 'queue full'; exit 1"}, "queue full"},
		{"status cannot be told", agenttest.Habits{BeforeStatus: "[ -e var/app.pid ] && { echo hm; exit 0; }"}, "status is unknown: hm"},
		{"status denies what runs", agenttest.Habits{BeforeStatus: "echo stoped; exit 0"}, "ended the processes that it had brought up"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			v1 := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
			v2 := h.origin.publish(t, "falcon", "1.0.1", c.bad)
			h.boot()
			h.apply(v1)
			h.runs("falcon", "1.0.0")

			if strings.Contains(c.bad.App, onceLookedAt) {
				v2.Probation = 3600
			}
			h.startTimeout(5 * time.Second)
			h.apply(v2)
			a := h.await("falcon", "rolled back", func(a meta.RealAgent) bool {
				if a.Phase == meta.PhaseProbation && a.Progress > 0 {
					agenttest.Write(t, filepath.Join(h.agentDir("falcon"), "var-looked-at"), "", 0o644)
				}
				return a.Phase == meta.PhaseRolledBack && a.Status == meta.StatusStarted
			})
			if a.Version != "1.0.0" || a.DesiredVersion != "1.0.1" || !strings.Contains(a.Error, c.want) {
				t.Errorf("report: %+v; want 1.0.0 with the reason %q", a, c.want)
			}
			h.checkRunning("falcon", "1.0.0")
			if !strings.Contains(a.Error, "in quarantine") {
				t.Errorf("error %q does not say that the release is in quarantine", a.Error)
			}

			// Other content under the same version is another release.
			h.startTimeout(h.cfg.StartTimeout)
			h.apply(h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{App: ": mended"}))
			h.runs("falcon", "1.0.1")
			h.checkRunning("falcon", "1.0.1")
		})
	}
}

// onceLookedAt has an application wait until its probation has seen it run.
const onceLookedAt = `
	until [ -e $agent/var-looked-at ]; do sleep 0.05 9>&-; done
`

// startTimeout holds for what begins from now on.
func (h *host) startTimeout(d time.Duration) {
	h.t.Helper()
	cfg := h.cfg
	cfg.StartTimeout = d
	must(h.t, h.engine.Configure(cfg))
}

// A version that was superseded on probation is nothing to go back to.
func TestI2RollbackPassesOverAVersionThatNeverProvedItself(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	v1 := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	v2 := h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{})
	v3 := h.origin.publish(t, "falcon", "1.0.2", agenttest.Habits{BeforeStart: "exit 1"})
	h.boot()
	h.apply(v1)
	h.runs("falcon", "1.0.0")

	v2.Probation = 3600
	h.apply(v2)
	h.await("falcon", "on probation", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseProbation && a.Version == "1.0.1" })
	h.apply(v3)
	a := h.await("falcon", "rolled back", func(a meta.RealAgent) bool {
		return a.Phase == meta.PhaseRolledBack && a.Status == meta.StatusStarted
	})
	if a.Version != "1.0.0" {
		t.Errorf("went back to %s; want 1.0.0, which had proved itself", a.Version)
	}
	h.checkRunning("falcon", "1.0.0")
}

func TestAFirstInstallThatFailsLeavesNothingRunning(t *testing.T) {
	h := newHost(t)
	bad := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{Health: "echo 'queue full'; exit 1"})
	h.boot()
	h.apply(bad)
	a := h.await("falcon", "failed", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseFailed })
	if !strings.Contains(a.Error, "queue full") || a.Version != "" {
		t.Errorf("report: %+v", a)
	}
	h.checkRunning("falcon")
}

func TestClearTriesAgain(t *testing.T) {
	h := newHost(t)
	flag := filepath.Join(h.dir, "licence")
	bad := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{BeforeStart: "[ -e " + flag + " ] || { echo 'no licence'; exit 1; }"})
	h.boot()
	h.apply(bad)
	h.await("falcon", "failed", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseFailed })
	agenttest.Write(t, flag, "yes", 0o644)
	if err := h.engine.Clear("falcon"); err != nil {
		t.Fatal(err)
	}
	h.runs("falcon", "1.0.0")
}

func TestI2WhatRunsRunsOnWhenAnInstallFails(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.boot()
	h.apply(h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
	h.runs("falcon", "1.0.0")
	pid := noted(t, h.agentDir("falcon"), 1)[0].Pid
	v2 := h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{})

	cases := []struct {
		name  string
		spoil func(*meta.DesiredAgent)
		want  string
	}{
		{"not there", func(a *meta.DesiredAgent) { a.Version = "1.0.2" }, "404"},
		{"wrong digest", func(a *meta.DesiredAgent) { a.MD5 = strings.Repeat("0", 32) }, "md5"},
		{"server away", func(a *meta.DesiredAgent) { a.Tarball = "http://127.0.0.1:1" }, "refused"},
		{"no tarball", func(a *meta.DesiredAgent) { a.Version, a.Tarball = "1.0.3", "" }, "no tarball is named"},
		{"refused entry", func(a *meta.DesiredAgent) { a.Cmd = "reboot" }, "reboot"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bad := v2
			bad.Rollout = c.name
			c.spoil(&bad)
			h.apply(bad)
			a := h.await("falcon", "failed", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseFailed && a.Rollout == c.name })
			if !strings.Contains(a.Error, c.want) || a.Version != "1.0.0" || a.Status != meta.StatusStarted {
				t.Errorf("report: %+v; want the reason %q", a, c.want)
			}
		})
	}
	h.checkRunning("falcon", "1.0.0")
	if events := agenttest.Events(t, h.agentDir("falcon")); len(events) != 1 || events[0].Pid != pid {
		t.Errorf("the agent was disturbed: %+v", events)
	}
}

func TestACrashedAgentIsStartedAgain(t *testing.T) {
	h := newHost(t)
	h.boot()
	h.apply(h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
	h.runs("falcon", "1.0.0")
	agenttest.Kill(t, h.agentDir("falcon"))
	h.await("falcon", "came back", func(a meta.RealAgent) bool {
		return a.Status == meta.StatusStarted && len(agenttest.Running(t, h.agentDir("falcon"))) == 1
	})
}

func TestMovedWorkDir(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.boot()
	a := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	h.apply(a)
	h.runs("falcon", "1.0.0")
	a.WorkDir = filepath.Join(h.dir, "elsewhere")
	h.apply(a)
	got := h.await("falcon", "moved", func(r meta.RealAgent) bool {
		return r.WorkDir == a.WorkDir && r.Phase == meta.PhaseIdle && r.Status == meta.StatusStarted
	})
	h.checkRunning("falcon")
	if now := running(t, filepath.Join(a.WorkDir, "falcon"), 1); len(now) != 1 {
		t.Errorf("running at the new place: %v, %+v", now, got)
	}
}

func TestAMovedAgentThatFailsRunsOnInItsOldPlace(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.boot()
	v1 := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	h.apply(v1)
	h.runs("falcon", "1.0.0")
	bad := h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{BeforeStart: "exit 1"})
	bad.WorkDir = filepath.Join(h.dir, "elsewhere")
	h.apply(bad)
	a := h.await("falcon", "rolled back", func(r meta.RealAgent) bool { return r.Phase == meta.PhaseRolledBack && r.Status == meta.StatusStarted })
	if a.WorkDir != h.cfg.DefaultWorkDir || a.Version != "1.0.0" {
		t.Errorf("report: %+v", a)
	}
	h.checkRunning("falcon", "1.0.0")
}

func TestWhatWasNeverInstalledIsNotReportedOnceUnlisted(t *testing.T) {
	h := newHost(t)
	h.boot()
	mistaken := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	mistaken.Version = "1.0.2"
	h.apply(mistaken)
	h.await("falcon", "failed", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseFailed })
	h.apply()
	gone := func(a meta.RealAgent) bool { return a.Name == "" }
	h.await("falcon", "is no longer reported", gone)
	h.halt()
	h.boot()
	h.await("falcon", "is not reported after a restart", gone)
}

func TestAReportOfARefusedNameIsWhole(t *testing.T) {
	h := newHost(t)
	h.boot()
	h.apply(meta.DesiredAgent{Name: "../falcon", Version: "1.0.0", Cmd: meta.CmdStart})
	a := h.await("../falcon", "is refused", func(a meta.RealAgent) bool { return a.Error != "" })
	if a.Status != meta.StatusUnknown || time.Since(time.Unix(a.Timestamp, 0)) > time.Hour {
		t.Errorf("report: %+v; want it unknown, now", a)
	}
}

func TestOrphansAreLeftAloneAndReported(t *testing.T) {
	h := newHost(t)
	h.boot()
	h.apply(h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
	h.runs("falcon", "1.0.0")
	h.apply()
	h.await("falcon", "became an orphan", func(a meta.RealAgent) bool { return a.Orphaned && a.Status == meta.StatusStarted })
	h.halt()
	h.boot()
	h.await("falcon", "stayed an orphan", func(a meta.RealAgent) bool { return a.Orphaned && a.Status == meta.StatusStarted })
	h.checkRunning("falcon", "1.0.0")
}

func TestHoldRollbackUnhold(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.boot()
	v1 := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	v2 := h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{})
	v3 := h.origin.publish(t, "falcon", "1.0.2", agenttest.Habits{})
	held := func(version string) func(meta.RealAgent) bool {
		return func(a meta.RealAgent) bool { return a.Held && a.Version == version && a.Status == meta.StatusStarted }
	}
	h.apply(v1)
	h.runs("falcon", "1.0.0")
	must(t, h.engine.Hold("falcon", "exam week"))
	h.apply(v2)
	if a := h.await("falcon", "was held", held("1.0.0")); a.HoldReason != "exam week" || a.DesiredVersion != "1.0.1" {
		t.Errorf("report: %+v", a)
	}
	agenttest.Kill(t, h.agentDir("falcon"))
	h.await("falcon", "was started again although held", func(a meta.RealAgent) bool {
		return held("1.0.0")(a) && len(agenttest.Running(t, h.agentDir("falcon"))) == 1
	})
	must(t, h.engine.Unhold("falcon"))
	h.runs("falcon", "1.0.1")

	must(t, h.engine.Rollback("falcon", "it is slow"))
	h.await("falcon", "went back", held("1.0.0"))
	h.checkRunning("falcon", "1.0.0")
	h.halt()
	h.boot()
	h.await("falcon", "stayed back", held("1.0.0"))
	h.apply(v3)
	h.runs("falcon", "1.0.2")
	h.checkRunning("falcon", "1.0.2")
	if err := h.engine.Unhold("falcon"); err == nil {
		t.Error("the hold of the rollback did not end with another wanted version")
	}
}

// On probation an operator goes back to what ran until a moment ago, whether or
// not there was a version before that.
func TestRollbackOnProbation(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.boot()
	for i, version := range []string{"1.0.0", "1.0.1", "1.0.2"} {
		a := h.origin.publish(t, "falcon", version, agenttest.Habits{})
		if i > 0 {
			a.Probation = 30
			h.apply(a)
			h.await("falcon", "on probation", func(r meta.RealAgent) bool { return r.Phase == meta.PhaseProbation && r.Version == version })
			must(t, h.engine.Rollback("falcon", "it is slow"))
			h.await("falcon", "went back", func(r meta.RealAgent) bool {
				return r.Held && r.Version == "1.0."+string(rune('0'+i-1)) && r.Status == meta.StatusStarted
			})
			must(t, h.engine.Unhold("falcon"))
			a.Probation = 1
		}
		h.apply(a)
		must(t, h.engine.Clear("falcon"))
		h.runs("falcon", version)
	}
}

func TestARemoteConfigIsFollowed(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.boot()
	a := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{App: "grep -q bad cfg.json && { note down; exit 1; }"})
	a.ConfigFileName, a.ConfigRemoteURL = "cfg.json", h.origin.URL+"/falcon-cfg.json"
	h.origin.put("falcon-cfg.json", []byte("one"))
	h.apply(a)
	h.runs("falcon", "1.0.0")
	file := filepath.Join(h.agentDir("falcon"), "1.0.0/cfg.json")
	content := func(want string) func(meta.RealAgent) bool {
		return func(a meta.RealAgent) bool {
			data, _ := os.ReadFile(file)
			return string(data) == want && a.Status == meta.StatusStarted && a.Phase != meta.PhaseProbation
		}
	}
	h.await("falcon", "had its config", content("one"))
	before := len(noted(t, h.agentDir("falcon"), 1))

	h.origin.put("falcon-cfg.json", []byte("two"))
	h.await("falcon", "took the new config and was restarted", func(a meta.RealAgent) bool {
		return content("two")(a) && len(agenttest.Events(t, h.agentDir("falcon"))) == before+2
	})

	h.origin.put("falcon-cfg.json", []byte("bad"))
	h.await("falcon", "went back to the config that worked", func(a meta.RealAgent) bool {
		return content("two")(a) && a.Phase == meta.PhaseRolledBack
	})
	h.checkRunning("falcon", "1.0.0")
}

func TestI6AnAgentThatHangsDelaysNoOther(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.cfg.Concurrency = 1
	h.cfg.StatusTimeout = 10 * time.Minute
	h.cfg.StartTimeout = 10 * time.Second // the end of the test waits for the start that hangs
	h.boot()
	hang := "[ -e var/app.pid ] && sleep 600"
	for _, name := range []string{"a", "b", "c"} {
		(agenttest.Habits{BeforeStatus: "sleep 600"}).Place(t, h.agentDir(name), "1.0.0")
		agenttest.Write(t, filepath.Join(h.agentDir(name), ".version"), "1.0.0", 0o644)
	}
	hanging := h.origin.publish(t, "hanging", "1.0.0", agenttest.Habits{BeforeStatus: hang})
	good := h.origin.publish(t, "good", "1.0.0", agenttest.Habits{})
	stuck := func(name string) meta.DesiredAgent { a := good; a.Name = name; return a }
	h.apply(stuck("a"), stuck("b"), stuck("c"), hanging, good)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for ctx.Err() == nil {
		quick, done := context.WithTimeout(ctx, 500*time.Millisecond)
		began := time.Now()
		agents := h.engine.Report(quick)
		done()
		if took := time.Since(began); took > 20*time.Second {
			t.Fatalf("a report took %v", took)
		}
		for _, a := range agents {
			if a.Name == "good" && a.Status == meta.StatusStarted && a.Phase == meta.PhaseIdle {
				return
			}
		}
	}
	t.Fatal("the good agent was never installed")
}

func TestPlanSaysWhyAndDoesNothing(t *testing.T) {
	h := newHost(t)
	e, err := updater.NewEngine(h.cfg)
	must(t, err)
	want := plan.Desired{Agents: []meta.DesiredAgent{
		h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}),
		{Name: "../etc", Version: "1", Cmd: meta.CmdStart},
	}}
	accounts, err := e.Plan(t.Context(), &want)
	must(t, err)
	if len(accounts) != 2 || accounts[1].Step.Act != plan.ActInstall || accounts[1].Step.Reason != "nothing is installed, 1.0.0 is wanted" || len(accounts[1].Refusals) > 0 {
		t.Errorf("accounts: %+v", accounts)
	}
	if r := accounts[0].Refusals; !strings.Contains(accounts[0].Step.Reason, "refused") || len(r) != 1 || r[0].Code != plan.CodeRefused {
		t.Errorf("accounts: %+v", accounts)
	}
	if _, err := os.Stat(h.agentDir("falcon")); !os.IsNotExist(err) {
		t.Errorf("plan touched the disk: %v", err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestI7AnUnknownUserIsInTheLogAndTheReport(t *testing.T) {
	h := newHost(t)
	h.boot()
	a := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	a.RunUser = "no-such-user-here"
	h.apply(a)
	h.await("falcon", "failed", func(a meta.RealAgent) bool { return strings.Contains(a.Error, "no-such-user-here") })
	h.logSays(`"level":"error"`, "no-such-user-here")
}

func TestAFailureThatIsNoLongerWantedIsNotReported(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.boot()
	a := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	h.apply(a)
	h.runs("falcon", "1.0.0")
	moved := a
	moved.WorkDir = "/proc/no-such-place"
	h.apply(moved)
	h.await("falcon", "failed", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseFailed })
	h.apply(a)
	h.await("falcon", "was as wanted", func(a meta.RealAgent) bool { return a.Phase == meta.PhaseIdle && a.Error == "" })
}

func TestI7AnAgentThatDoesNotStayUpIsAWarning(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.boot()
	h.apply(h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
	h.runs("falcon", "1.0.0")
	agenttest.Kill(t, h.agentDir("falcon"))
	h.logSays("stoped though start is wanted") // also a warning, when its script takes it for alive
	h.runs("falcon", "1.0.0")
	agenttest.Kill(t, h.agentDir("falcon"))
	h.logSays(`"level":"warn"`, "stoped")
}

// logSays waits until the log has a line with every one of parts.
func (h *host) logSays(parts ...string) {
	h.t.Helper()
	h.await("", "had a line with "+strings.Join(parts, " and "), func(meta.RealAgent) bool {
		data, err := os.ReadFile(h.logFile)
		must(h.t, err)
		for line := range strings.Lines(string(data)) {
			if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
				return true
			}
		}
		return false
	})
}

// A .version that is damaged says nothing about what runs: it is named again, whatever
// keeps another version from taking its place.
func TestI1I2ADamagedVersionFileNamesAgainWhatRuns(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		desire func(*host, meta.DesiredAgent) meta.Phase
		stop   bool
	}{
		"held": {desire: func(h *host, _ meta.DesiredAgent) meta.Phase {
			must(h.t, h.engine.Hold("falcon", "exam week"))
			return meta.PhaseHeld
		}},
		"the wanted one is in quarantine": {desire: func(h *host, _ meta.DesiredAgent) meta.Phase {
			h.apply(h.origin.publish(h.t, "falcon", "1.0.1", agenttest.Habits{Health: "echo 'queue full'; exit 1"}))
			h.await("falcon", "rolled back", func(a meta.RealAgent) bool {
				return a.Phase == meta.PhaseRolledBack && a.Status == meta.StatusStarted
			})
			return meta.PhaseRolledBack
		}},
		"stop is wanted": {stop: true, desire: func(*host, meta.DesiredAgent) meta.Phase { return meta.PhaseIdle }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.boot()
			v1 := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
			h.apply(v1)
			h.runs("falcon", "1.0.0")
			phase := c.desire(h, v1)
			before := noted(t, h.agentDir("falcon"), 1)
			h.halt()
			agenttest.Write(t, filepath.Join(h.agentDir("falcon"), ".version"), "\x00\x00", 0o644)
			h.boot()
			status := meta.StatusStarted
			if c.stop {
				v1.Cmd, status = meta.CmdStop, meta.StatusStopped
				h.apply(v1)
			}
			said := false
			h.await("falcon", "looked after", func(a meta.RealAgent) bool {
				said = said || a.Reason == plan.CodeVersionLost
				return a.Version == "1.0.0" && a.Status == status && a.Phase == phase
			})
			if !said {
				t.Error("I7: no heartbeat said that .version was lost")
			}
			if c.stop {
				h.checkRunning("falcon")
				return
			}
			h.checkRunning("falcon", "1.0.0")
			if now := agenttest.Events(t, h.agentDir("falcon")); len(now) != len(before) {
				t.Errorf("the agent was disturbed: %+v", now[len(before):])
			}
		})
	}
}

// A report that goes out while an agent is being stopped says so: a server that does not
// know of the stop leaves what is midway as it is, and has what runs started again.
func TestAStopUnderWayIsReported(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.boot()
	a := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{BeforeStop: "until [ -e var/stop ]; do sleep 0.05; done"})
	h.apply(a)
	h.runs("falcon", "1.0.0")
	a.Cmd = meta.CmdStop
	h.apply(a)
	// A report that waits for nobody, as one does in the end whose time is up.
	hurried, cancel := context.WithCancel(t.Context())
	cancel()
	until(t, "the stop is reported", func() bool {
		for _, r := range h.engine.Report(hurried) {
			if r.Phase == meta.PhaseStopping && r.Status == meta.StatusStarted {
				return true
			}
		}
		return false
	})
	agenttest.Write(t, filepath.Join(h.agentDir("falcon"), "1.0.0/var/stop"), "", 0o644)
	h.await("falcon", "stopped", func(r meta.RealAgent) bool { return r.Status == meta.StatusStopped && r.Phase == meta.PhaseIdle })
}
