package updater_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// noProcesses takes from the sidecar's children of user the right to fork, and
// from those to come the right to be started, until the returned function is
// called.
func noProcesses(t *testing.T, user *user.User) (lift func()) {
	t.Helper()
	var usual unix.Rlimit
	must(t, unix.Prlimit(0, unix.RLIMIT_NPROC, nil, &usual))
	limit := func(soft uint64) {
		children := childrenOf(t, os.Getpid())
		own := func() { must(t, unix.Prlimit(0, unix.RLIMIT_NPROC, &unix.Rlimit{Cur: soft, Max: usual.Max}, nil)) }
		if soft > 0 { // or prlimit itself would not be started
			own()
		}
		for _, pid := range children {
			limitAs(t, user, pid, soft)
		}
		own()
	}
	for _, pid := range childrenOf(t, os.Getpid()) {
		until(t, "the child has its own limit again, after the start of a script", func() bool {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
			_, line, _ := strings.Cut(string(text), "Max processes")
			soft, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			return soft == limitText(usual.Cur)
		})
	}
	limit(0)
	lifted := false
	lift = func() {
		if !lifted {
			limit(usual.Cur)
		}
		lifted = true
	}
	t.Cleanup(lift)
	return lift
}

// limitAs does it as the user: root may not everywhere.
func limitAs(t *testing.T, user *user.User, pid int, soft uint64) {
	t.Helper()
	uid, _ := strconv.Atoi(user.Uid)
	gid, _ := strconv.Atoi(user.Gid)
	cmd := exec.Command("prlimit", "--pid", strconv.Itoa(pid), "--nproc="+limitText(soft)+":")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	if out, err := cmd.CombinedOutput(); err != nil && soft == 0 {
		t.Fatalf("%v: %v: %s", cmd.Args, err, out)
	}
}

func limitText(n uint64) string {
	if n == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}

// childrenOf looks at the parents: not every kernel knows its children.
func childrenOf(t *testing.T, pid int) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/status")
	must(t, err)
	for _, file := range files {
		text, _ := os.ReadFile(file)
		if strings.Contains(string(text), fmt.Sprintf("\nPPid:\t%d\n", pid)) {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, child)
		}
	}
	return pids
}

// asAnother is a host with falcon 1.0.0, with a config, of a user who is not root
// and whose processes are therefore counted.
func asAnother(t *testing.T, u *user.User, habits agenttest.Habits) (h *host, a meta.DesiredAgent) {
	t.Helper()
	h = underRoot(t)
	h.cfg.CheckEvery = time.Hour // so that children are there only when something is asked
	h.cfg.StopTimeout = 10 * time.Second
	h.boot()
	h.origin.put("app.json", []byte("old"))
	a = h.origin.publish(t, "falcon", "1.0.0", habits)
	a.RunUser, a.ConfigFileName, a.ConfigRemoteURL = u.Username, "app.json", h.origin.URL+"/app.json"
	h.apply(a)
	h.runs("falcon", "1.0.0")
	return h, a
}

const noMore = "no more processes, memory or files"

func TestI2NothingIsStoppedWhereNothingCanBeForked(t *testing.T) {
	u := agenttest.NeedUser(t)
	h, v1 := asAnother(t, u, agenttest.Habits{})
	v2 := h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{})
	v2.RunUser = v1.RunUser
	before := len(noted(t, h.agentDir("falcon"), 1))
	until(t, "the last child has ended", func() bool { return len(childrenOf(t, os.Getpid())) == 0 })
	lift := noProcesses(t, u)
	h.apply(v2)
	h.origin.put("app.json", []byte("new"))
	h.await("falcon", "said why nothing is done", func(a meta.RealAgent) bool { return strings.Contains(a.Error, noMore) })
	if events := agenttest.Events(t, h.agentDir("falcon")); len(events) != before || h.blamed("falcon") {
		t.Errorf("the agent was disturbed: %+v, or its release blamed: %v", events[before:], h.blamed("falcon"))
	}
	h.checkRunning("falcon", "1.0.0")
	lift()
	h.runs("falcon", "1.0.1")
}

// TestI2WhatWasStoppedWaitsForProcessesAndIsStartedThen has the processes run out
// when the old version has been stopped.
func TestI2WhatWasStoppedWaitsForProcessesAndIsStartedThen(t *testing.T) {
	for name, change := range map[string]func(*testing.T, *host, meta.DesiredAgent){
		"an upgrade": func(t *testing.T, h *host, a meta.DesiredAgent) {
			b := h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{})
			b.RunUser = a.RunUser
			h.apply(b)
		},
		"a changed config": func(_ *testing.T, h *host, _ meta.DesiredAgent) {
			h.origin.put("app.json", []byte("new"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := agenttest.NeedUser(t)
			h, a := asAnother(t, u, agenttest.Habits{BeforeStop: "touch var/stopping; while [ ! -e var/stop ]; do sleep 0.02; done"})
			state := filepath.Join(h.agentDir("falcon"), "1.0.0/var")
			change(t, h, a)
			until(t, "it is being stopped", func() bool { h.engine.Look(); return os.Remove(filepath.Join(state, "stopping")) == nil })
			lift := noProcesses(t, u)
			must(t, os.WriteFile(filepath.Join(state, "stop"), nil, 0o644))
			h.logSays(noMore, "trying again")
			if got := agenttest.Running(t, h.agentDir("falcon")); len(got) > 0 {
				t.Fatalf("%v runs; the test is about what is stopped", got)
			}
			if h.blamed("falcon") {
				t.Error("a release is blamed for the host")
			}
			lift()
			want := "1.0.0"
			if name == "an upgrade" {
				want = "1.0.1"
			}
			h.runs("falcon", want)
			if h.blamed("falcon") {
				t.Error("a release is blamed for the host")
			}
			h.checkRunning("falcon", want)
			text, err := os.ReadFile(filepath.Join(h.agentDir("falcon"), want, "app.json"))
			if want == "1.0.0" && (err != nil || string(text) != "new") {
				t.Errorf("its config is %q, %v", text, err)
			}
		})
	}
}
