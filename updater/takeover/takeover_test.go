package takeover_test

import (
	"cmp"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/takeover"
)

// begin boots a host with v0 and falcon, and returns falcon's process.
func (h *host) begin(fault string) (agent int) {
	h.t.Helper()
	// Never fetched: it is what runs.
	h.server.want(h.server.falcon("1.0.0"), h.server.release(v0, impostor(v0, "exit 1", "exit 1")))
	h.boot(fault)
	h.awaitVersion(v0, meta.PhaseIdle)
	return h.awaitAgent()
}

// tell has the host told to be another version of the sidecar.
func (h *host) tell(version string, program []byte) {
	h.t.Helper()
	h.server.want(h.server.falcon("1.0.0"), h.server.release(version, program))
}

func (h *host) run(args ...string) string {
	h.t.Helper()
	cmd := exec.Command(filepath.Join(h.dir, self), append([]string{"-c", filepath.Join(h.dir, "cfg.json")}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Errorf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestTheSidecarBecomesAnotherVersionInItsProcess(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	agent := h.begin("")
	pid, starts := h.process()
	for _, v := range []string{v1, v2} { // twice in a row
		h.tell(v, program(t, v))
		h.awaitVersion(v, meta.PhaseIdle)
		h.checkState(v)
		h.checkAgent(agent)
		if now, again := h.process(); now != pid || again != starts {
			t.Fatalf("%s runs in process %d after %d starts; %s was %d after %d", v, now, again, v0, pid, starts)
		}
		if out := h.run("status"); !strings.HasPrefix(out, "ops-updater "+v+" ") || !strings.Contains(out, v0+" is installed") {
			t.Errorf("status: %s", out)
		}
		if out := h.run("check"); !strings.Contains(out, v0+", which is installed, goes on as "+v) {
			t.Errorf("check: %s", out)
		}
		if out := h.run("--version"); out != v+"\n" { // by what is installed
			t.Errorf("what is installed says that it is %s", out)
		}
		version, err := os.ReadFile(filepath.Join(h.dir, "work/ops-updater/.version"))
		if err != nil || string(version) != v {
			t.Errorf("I1: .version names %s (%v)", version, err)
		}
	}
	h.halt()
	h.boot("") // whoever starts what is installed
	h.awaitVersion(v2, meta.PhaseIdle)
	h.checkAgent(agent)
}

// otherMachine is a program for another kind of machine: the field of its header
// that says which.
func otherMachine(program []byte) []byte {
	p := append([]byte{}, program...)
	p[18], p[19] = 0xf3, 0 // RISC-V
	return p
}

// TestABadReleaseOfTheSidecarIsRefusedOrTakenBack: whatever is wrong with it, the
// version that ran runs on or comes back, says why, and does not try it again.
func TestABadReleaseOfTheSidecarIsRefusedOrTakenBack(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		release    func(t *testing.T) []byte
		phase      meta.Phase
		code, says string
		restarts   bool // whoever supervises the sidecar has to start it again
		config     map[string]any
		refused    bool // by the server
	}{
		"fails its check": {
			release: func(*testing.T) []byte {
				return impostor(v1, `echo "ok       x: y"; echo "error    trust: no key is known"; exit 1`, "exit 1")
			},
			phase: meta.PhaseFailed, code: "check", says: "trust: no key is known",
		},
		"hangs in its check": {
			release: func(*testing.T) []byte { return impostor(v1, "exec sleep 300", "exit 1") },
			phase:   meta.PhaseFailed, code: "check", says: "did not return within 15s",
			config: map[string]any{"start_timeout": "15s"},
		},
		"knows no takeover": {
			release: func(*testing.T) []byte {
				return impostor(v1, `case $* in *--takeover*) echo "unknown flag: --takeover" >&2; exit 2;; esac`, "exit 1")
			},
			phase: meta.PhaseFailed, code: "check", says: "unknown flag: --takeover",
		},
		"is another version": {
			release: func(t *testing.T) []byte { return program(t, v3) },
			phase:   meta.PhaseFailed, code: "check", says: "the program in " + v1 + " says that it is",
		},
		"is for another machine": {
			release: func(t *testing.T) []byte { return otherMachine(program(t, v1)) },
			phase:   meta.PhaseFailed, code: "wrong-machine", says: "machine",
		},
		"crashes at the start": {
			release: func(*testing.T) []byte { return impostor(v1, "exit 0", "exit 7") },
			phase:   meta.PhaseRolledBack, code: "takeover-died", says: "before a heartbeat was answered", restarts: true,
		},
		"hangs and does not obey": {
			release: func(*testing.T) []byte { return impostor(v1, "exit 0", "trap '' TERM; exec sleep 300") },
			phase:   meta.PhaseRolledBack, code: "takeover-unheard", says: "no heartbeat was answered within 4s", restarts: true,
		},
		"is not answered": {
			release: func(t *testing.T) []byte { return program(t, v1) }, refused: true,
			phase: meta.PhaseRolledBack, code: "takeover-unheard", says: v0 + " was answered",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			if c.config != nil {
				h.configure(c.config)
			}
			if c.refused {
				h.server.refuse(func(updater string) bool { return updater == v1 })
			}
			agent := h.begin("")
			pid, starts := h.process()
			if c.code == "takeover-unheard" {
				h.server.probation = 4
			}
			h.tell(v1, c.release(t))
			h.awaitVersion(v0, c.phase)
			h.checkState(v0)
			h.checkReported(c.code, c.says)
			h.checkAgent(agent)
			if !h.quarantined(v1) {
				t.Error("its release is not in quarantine")
			}
			if now, again := h.process(); !c.restarts && (now != pid || again != starts) {
				t.Errorf("the sidecar was started anew: %d starts, process %d; want %d, %d", again, now, starts, pid)
			}
			h.server.probation = 40
			h.tell(v2, program(t, v2)) // another release is tried at once
			h.awaitVersion(v2, meta.PhaseIdle)
			h.checkState(v2)
			h.checkAgent(agent)
		})
	}
}

// TestAReleaseIsNotBlamedWhenTheVersionBeforeItIsNotAnsweredEither: it is the server.
func TestAReleaseIsNotBlamedWhenTheVersionBeforeItIsNotAnsweredEither(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	agent := h.begin("")
	pid, starts := h.process()
	away := false // since v1 asked first; the server calls this one at a time
	h.server.refuse(func(updater string) bool {
		away = away || updater == v1
		return away
	})
	h.server.probation = 4
	h.tell(v1, program(t, v1))
	h.await("the takeover was taken back without blame", func() bool {
		log, _ := os.ReadFile(h.varFile("app.log"))
		return strings.Contains(string(log), "the server is away")
	})
	h.checkState(v0)
	if h.quarantined(v1) {
		t.Error("the release is in quarantine")
	}
	h.server.refuse(func(string) bool { return false })
	h.awaitVersion(v1, meta.PhaseIdle)
	h.checkState(v1)
	h.checkReported("takeover-unheard", "the server is away")
	h.checkAgent(agent)
	if now, again := h.process(); now != pid || again != starts {
		t.Errorf("the sidecar was started anew: %d starts, process %d; want %d, %d", again, now, starts, pid)
	}
}

// TestI1I2I7AKillDuringATakeover kills the sidecar, or the watcher, with SIGKILL at
// every step of a takeover. The host comes up with one version or the other, and
// once nothing is killed any more with the wanted one.
func TestI1I2I7AKillDuringATakeover(t *testing.T) {
	t.Parallel()
	for _, point := range points(
		[]string{"takeover.prepared", "takeover.executing", "takeover.heard"},
		[]string{"sidecar.starting", "takeover.checked", "takeover.watched", "takeover.begun", "takeover.committed", "sidecar.ended", "watcher.ready"},
	) {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			agent := h.begin("")
			h.halt()
			h.tell(v1, program(t, v1))
			h.killed(point, agent)
		})
	}
}

// TestI1I2I7AKillDuringTheWayBack is the same when a version is not answered.
func TestI1I2I7AKillDuringTheWayBack(t *testing.T) {
	t.Parallel()
	for _, point := range points([]string{"watcher.ended", "takeover.returning"}, []string{"watcher.ready", "watcher.ending", "takeover.judged"}) {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			agent := h.begin("")
			h.halt()
			h.server.refuse(func(updater string) bool { return updater == v1 })
			h.server.probation = 4
			h.tell(v1, program(t, v1))
			h.killed(point, agent)
		})
	}
}

// points are those at which a kill is tried: all of them in `make matrix`.
func points(always, others []string) []string {
	if os.Getenv("OPS_UPDATER_MATRIX") == "all" {
		return append(always, others...)
	}
	return always
}

// killed boots the host with the fault, waits until it is at rest with either
// version, and has it try again.
func (h *host) killed(point string, agent int) {
	h.t.Helper()
	h.boot(point + ":kill")
	h.await(point+" is reached", func() bool {
		_, err := os.Stat(filepath.Join(h.dir, "fault"))
		return err == nil
	})
	h.await("the host is at rest", func() bool {
		s, err := takeover.Load(filepath.Join(h.dir, "var"))
		a, updater := h.server.last(self)
		return err == nil && s.Trial == nil && updater == cmp.Or(s.Current.Version, v0) && a.Version == updater && h.atRest()
	})
	h.checkAgent(agent)
	h.server.refuse(func(string) bool { return false })
	h.await("an operator can have it tried again", func() bool {
		return exec.Command(filepath.Join(h.dir, self), "-c", filepath.Join(h.dir, "cfg.json"), "clear", self).Run() == nil
	})
	h.awaitVersion(v1, meta.PhaseIdle)
	h.checkState(v1)
	h.checkAgent(agent)
}

// atRest: nothing is half done in the journal of the sidecar itself.
func (h *host) atRest() bool {
	data, err := os.ReadFile(h.varFile("journal/ops-updater.json"))
	return err == nil && !strings.Contains(string(data), `"txn"`)
}

// TestAHostThatRebootsDuringATakeoverComesUpAsItWas: sidecar and watcher are gone.
func TestAHostThatRebootsDuringATakeoverComesUpAsItWas(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	agent := h.begin("")
	h.server.refuse(func(updater string) bool { return updater == v1 })
	h.tell(v1, program(t, v1))
	h.await("1.0.1 is on trial", func() bool {
		s, err := takeover.Load(filepath.Join(h.dir, "var"))
		return err == nil && s.Trial != nil && s.Trial.Stage == takeover.StageExecuting
	})
	h.powerOff()
	h.server.refuse(func(string) bool { return false })
	h.boot("")
	h.await("it is back as it was", func() bool { return strings.Contains(h.server.toldAll(), v0+" is back: ") })
	h.checkAgent(agent) // which a real reboot would have ended
	h.awaitVersion(v1, meta.PhaseIdle)
	h.checkState(v1)
	h.checkReported("interrupted", "went down while "+v1+" took over")
}

// powerOff kills the sidecar and its watcher, and nobody starts them again.
func (h *host) powerOff() {
	h.t.Helper()
	h.mu.Lock()
	h.halted = true
	pid := h.cmd.Process.Pid
	h.mu.Unlock()
	for _, victim := range append(h.watchers(), pid) {
		_ = syscall.Kill(victim, syscall.SIGKILL)
	}
	<-h.ended
	h.ended = nil
}

// watchers are the processes of watchers of this host.
func (h *host) watchers() (pids []int) {
	h.t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(h.t, err)
	for _, file := range all {
		args, _ := os.ReadFile(file)
		if strings.Contains(string(args), "watch\x00"+h.dir+"/var\x00") {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			must(h.t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// control runs ./control of the host as a person does.
func (h *host) control(verb string) (string, error) {
	cmd := exec.Command(filepath.Join(h.dir, "control"), verb)
	cmd.Dir = h.dir
	for _, v := range h.env {
		if !strings.HasPrefix(v, "INVOCATION_ID=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestASidecarThatControlStartedIsStartedAgainByTheWatcher, as nobody else does; and
// one that somebody stopped on trial is not.
func TestASidecarThatControlStartedIsStartedAgainByTheWatcher(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.server.want(h.server.falcon("1.0.0"), h.server.release(v0, impostor(v0, "exit 1", "exit 1")))
	t.Cleanup(func() { _, _ = h.control("stop") })
	if out, err := h.control("start"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.awaitVersion(v0, meta.PhaseIdle)
	agent := h.awaitAgent()
	h.tell(v1, impostor(v1, "exit 0", "exit 7"))
	h.awaitVersion(v0, meta.PhaseRolledBack)
	h.checkState(v0)
	h.checkReported("takeover-died", "before a heartbeat was answered")
	h.checkControl("started")

	h.server.refuse(func(updater string) bool { return updater == v2 })
	h.tell(v2, program(t, v2))
	h.await("1.0.2 is on trial", func() bool {
		s, err := takeover.Load(filepath.Join(h.dir, "var"))
		return err == nil && s.Trial != nil && s.Trial.To.Version == v2 && s.Trial.Stage == takeover.StageExecuting
	})
	h.await("it answers commands", func() bool {
		out, err := exec.Command(filepath.Join(h.dir, self), "-c", filepath.Join(h.dir, "cfg.json"), "status").Output()
		return err == nil && strings.HasPrefix(string(out), "ops-updater "+v2+" ")
	})
	h.checkControl("started")
	if out, err := h.control("stop"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.await("no watcher is left", func() bool { return len(h.watchers()) == 0 })
	h.checkControl("stoped")
	h.server.refuse(func(string) bool { return false })
	if out, err := h.control("start"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.awaitVersion(v2, meta.PhaseIdle)
	h.checkState(v2)
	h.checkControl("started")
	h.checkAgent(agent)
}

func (h *host) checkControl(want string) {
	h.t.Helper()
	if out, err := h.control("status"); err != nil || strings.TrimSpace(out) != want {
		h.t.Errorf("control status says %q (%v); want %s", out, err, want)
	}
}

// TestAProgramThatIsInstalledByHandWins over the version that was current, until the
// server wants another one.
func TestAProgramThatIsInstalledByHandWins(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	agent := h.begin("")
	h.tell(v1, program(t, v1))
	h.awaitVersion(v1, meta.PhaseIdle)
	h.halt()
	must(t, os.Remove(filepath.Join(h.dir, self)))
	writeProgram(t, filepath.Join(h.dir, self), program(t, v3))
	if out := h.run("--version"); out != v3+"\n" {
		t.Errorf("what was installed says that it is %s", out)
	}
	h.server.want(h.server.falcon("1.0.0"))
	h.boot("")
	h.await("1.0.3 is heard of", func() bool { _, updater := h.server.last(self); return updater == v3 })
	h.checkState(v3)
	h.tell(v1, program(t, v1))
	h.awaitVersion(v1, meta.PhaseIdle)
	h.checkState(v1)
	must(t, os.RemoveAll(filepath.Join(h.dir, "work/ops-updater")))
	h.halt()
	h.server.want(h.server.falcon("1.0.0"))
	h.boot("") // what is current is gone
	h.await("what is installed is heard of", func() bool { _, updater := h.server.last(self); return updater == v3 })
	h.checkState(v3)
	h.checkAgent(agent)
}

// TestAnOrdinaryUsersSidecarUpdatesItselfFromAReadOnlyInstallation: what is installed
// is root's and stays as it is, whatever takes over.
func TestAnOrdinaryUsersSidecarUpdatesItselfFromAReadOnlyInstallation(t *testing.T) {
	t.Parallel()
	nobody, err := user.Lookup("nobody")
	if os.Geteuid() != 0 || err != nil {
		t.Skipf("SKIPPED: it takes root to be somebody else (%v)", err)
	}
	h := newHost(t)
	uid, err := strconv.Atoi(nobody.Uid)
	must(t, err)
	gid, err := strconv.Atoi(nobody.Gid)
	must(t, err)
	for _, name := range []string{"var", "work"} {
		must(t, os.MkdirAll(filepath.Join(h.dir, name), 0o755))
		must(t, os.Chown(filepath.Join(h.dir, name), uid, gid))
	}
	for dir := h.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	must(t, os.WriteFile(filepath.Join(h.dir, "output"), nil, 0o644))
	h.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	agent := h.begin("")
	pid, _ := h.process()
	before, err := takeover.Describe(v0, filepath.Join(h.dir, self))
	must(t, err)
	h.tell(v1, program(t, v1))
	h.awaitVersion(v1, meta.PhaseIdle)
	h.checkState(v1)
	h.checkAgent(agent)
	if now, _ := h.process(); now != pid {
		t.Errorf("process %d became %d", pid, now)
	}
	if after, err := takeover.Describe(v0, filepath.Join(h.dir, self)); err != nil || after != before {
		t.Errorf("what is installed was %+v and is %+v (%v)", before, after, err)
	}
	h.halt()
	h.boot("")
	h.awaitVersion(v1, meta.PhaseIdle)
}

// TestWhatTheSidecarIsNotToldAboutItself: another user, a stop, a remote config.
func TestWhatTheSidecarIsNotToldAboutItself(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	agent := h.begin("")
	for says, change := range map[string]func(*meta.DesiredAgent){
		"which is stopped on its host alone": func(d *meta.DesiredAgent) { d.Cmd = meta.CmdStop },
		"and not as daemon":                  func(d *meta.DesiredAgent) { d.RunUser = "daemon" },
		"whose configuration is its host's":  func(d *meta.DesiredAgent) { d.ConfigFileName, d.ConfigRemoteURL = "cfg.json", h.server.URL },
	} {
		d := h.server.release(v1, program(t, v1))
		change(&d)
		h.server.want(h.server.falcon("1.0.0"), d)
		h.await("it is refused: "+says, func() bool {
			a, updater := h.server.last(self)
			return updater == v0 && a.Phase == meta.PhaseFailed && strings.Contains(a.Error, says)
		})
	}
	h.checkAgent(agent)
}
