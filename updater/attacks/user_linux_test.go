package attacks

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// newVictimOf is a host whose sidecar is root's and whose falcon is nobody's.
func newVictimOf(t *testing.T, u *user.User) *victim {
	t.Helper()
	return newVictim(t, func(v *victim) {
		falcon := v.server.release(t, "falcon", "1.0.0", agenttest.Habits{})
		falcon.RunUser = u.Username
		v.wantsBeside(falcon)
		v.config["start_timeout"], v.config["stop_timeout"] = 20, 20 // what never returns is waited for
	})
}

func give(t *testing.T, u *user.User, path string) {
	t.Helper()
	uid, err := strconv.Atoi(u.Uid)
	must(t, err)
	must(t, os.Lchown(path, uid, uid))
}

// bystanderIsUpdated checks that the sidecar goes on, and quickly, with the other agent, and
// that root wrote through no link.
func (v *victim) bystanderIsUpdated(falcon meta.DesiredAgent, version, precious string) {
	v.t.Helper()
	_, before := v.server.last()
	v.server.wants(falcon, v.server.release(v.t, "bystander", version, agenttest.Habits{}))
	v.runs("bystander", version)
	v.pid["bystander"] = v.lastUp("bystander")
	v.await("heartbeats go on", func(meta.HeartbeatRequest) bool {
		_, n := v.server.last()
		return n > before+2
	})
	if data, err := os.ReadFile(precious); err != nil || string(data) != "precious" {
		v.t.Errorf("root's file is %q, %v", data, err)
	}
	if data, err := os.ReadFile(v.mark()); err == nil {
		v.t.Errorf("root ran what another user wrote: %q", data)
	}
}

func TestAHostileUserTouchesNeitherTheSidecarNorOtherAgents(t *testing.T) {
	u := agenttest.NeedUser(t)
	for name, attack := range map[string]func(v *victim, dir, precious string){
		"version file is a link": func(v *victim, dir, precious string) {
			must(v.t, os.Remove(filepath.Join(dir, ".version")))
			must(v.t, os.Symlink(precious, filepath.Join(dir, ".version")))
		},
		"version file is a FIFO": func(v *victim, dir, _ string) {
			must(v.t, os.Remove(filepath.Join(dir, ".version")))
			must(v.t, syscall.Mkfifo(filepath.Join(dir, ".version"), 0o666))
		},
		"control is a FIFO": func(v *victim, dir, _ string) {
			must(v.t, os.Remove(filepath.Join(dir, "1.0.0/control")))
			must(v.t, syscall.Mkfifo(filepath.Join(dir, "1.0.0/control"), 0o777))
		},
		"directory is a link": func(v *victim, dir, _ string) {
			must(v.t, os.Rename(dir, dir+".moved"))
			must(v.t, os.Symlink(filepath.Join(v.dir, "root"), dir))
		},
		"notes are links": func(v *victim, dir, precious string) {
			for _, note := range []string{".control.run", ".control.out", ".control.lock", ".owner"} {
				_ = os.Remove(filepath.Join(dir, note))
				must(v.t, os.Symlink(precious, filepath.Join(dir, note)))
			}
		},
		"output without end": func(v *victim, dir, _ string) {
			agenttest.Write(v.t, filepath.Join(dir, "1.0.0/control"), "#!/bin/sh\ncat /dev/zero\n", 0o755)
		},
		"output that moves the cursor": func(v *victim, dir, _ string) {
			agenttest.Write(v.t, filepath.Join(dir, "1.0.0/control"), "#!/bin/sh\nprintf '\\033[2J\\377\\000started by nobody'\n", 0o755)
		},
		"never returns": func(v *victim, dir, _ string) {
			agenttest.Write(v.t, filepath.Join(dir, "1.0.0/control"), "#!/bin/sh\ntrap '' TERM INT HUP\nsleep 600 & sleep 600\n", 0o755)
		},
		"leaves children with its pipes": func(v *victim, dir, _ string) {
			agenttest.Write(v.t, filepath.Join(dir, "1.0.0/control"), "#!/bin/sh\nsetsid sleep 600 &\necho started\n", 0o755)
		},
	} {
		if !all && !slices.Contains([]string{"version file is a link", "control is a FIFO", "directory is a link", "output without end", "never returns"}, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			v := newVictimOf(t, u)
			precious := filepath.Join(v.dir, "precious")
			must(t, os.WriteFile(precious, []byte("precious"), 0o600))
			agenttest.Write(t, filepath.Join(v.dir, "root/1.0.0/control"), v.evil().Control, 0o755)
			agenttest.Write(t, filepath.Join(v.dir, "root/.version"), "1.0.0", 0o644)
			dir := v.agentDir("falcon")
			began := time.Now()
			attack(v, dir, precious)
			for _, path := range []string{filepath.Join(dir, ".version"), filepath.Join(dir, "1.0.0/control")} {
				if _, err := os.Lstat(path); err == nil {
					give(t, u, path)
				}
			}
			falcon := v.server.release(t, "falcon", "1.0.1", agenttest.Habits{})
			falcon.RunUser = u.Username
			v.bystanderIsUpdated(falcon, "1.0.1", precious)
			// The host says that something is wrong, or has mended it.
			v.awaitAgent("falcon", "is told as wrong, or mended", func(a meta.RealAgent) bool {
				return a.Error != "" || a.Version == "1.0.1" && a.Timestamp >= began.Unix()
			})
		})
	}
}
