//go:build linux

package control

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ops-updater/ops-updater/internal/host/process"
)

// TestWhereAControlGroupCanBeMade lays out what a host may have below
// /sys/fs/cgroup: "pids" hands the controller down, "domain" has a type, as every
// group of v2 but the topmost has.
func TestWhereAControlGroupCanBeMade(t *testing.T) {
	const v2, v1 = "cgroup2 none rw", "cgroup none rw,pids"
	for name, c := range map[string]struct {
		groups string            // /proc/self/cgroup
		mounts map[string]string // mount point below the root: "root of the mount, kind"
		tree   map[string]string
		parent string
		home   string
		asked  string // group that is asked to hand pids down, which a mere file cannot
	}{
		"a systemd unit": {
			groups: "0::/system.slice/ops-updater.service\n",
			mounts: map[string]string{"cg": "/ " + v2},
			tree:   map[string]string{"cg": "pids", "cg/system.slice": "pids domain", "cg/system.slice/ops-updater.service": "domain"},
			parent: "cg/system.slice", home: "cg/system.slice/ops-updater.service",
		},
		"a unit of a slice that counts no processes": {
			groups: "0::/system.slice/ops-updater.service\n",
			mounts: map[string]string{"cg": "/ " + v2},
			tree:   map[string]string{"cg": "pids", "cg/system.slice": "domain", "cg/system.slice/ops-updater.service": "domain"},
		},
		"at the top": {
			groups: "0::/\n", mounts: map[string]string{"cg": "/ " + v2}, tree: map[string]string{"cg": "pids"},
			parent: "cg", home: "cg",
		},
		"at the top, where nobody has asked for pids yet": {
			groups: "0::/\n", mounts: map[string]string{"cg": "/ " + v2}, tree: map[string]string{"cg": ""}, asked: "cg",
		},
		"a service right below the top": {
			groups: "0::/openrc.ops-updater\n", mounts: map[string]string{"cg": "/ " + v2},
			tree:   map[string]string{"cg": "pids", "cg/openrc.ops-updater": "domain"},
			parent: "cg", home: "cg/openrc.ops-updater",
		},
		"a container that sees only its own": {
			groups: "0::/\n", mounts: map[string]string{"sys/cg": "/ " + v2}, tree: map[string]string{"sys": "-", "sys/cg": "domain"},
		},
		"a part of the hierarchy, mounted": {
			groups: "0::/box/a/b\n", mounts: map[string]string{"cg": "/box " + v2},
			tree:   map[string]string{"cg": "domain", "cg/a": "pids domain", "cg/a/b": "domain"},
			parent: "cg/a", home: "cg/a/b",
		},
		"both versions": {
			groups: "8:pids:/x\n0::/\n",
			mounts: map[string]string{"pids": "/ " + v1, "cg": "/ " + v2},
			tree:   map[string]string{"cg": "", "pids": "-", "pids/x": "-"},
			parent: "pids/x", home: "pids/x",
		},
		"nothing is mounted": {groups: "0::/\n"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for _, dir := range slices.Sorted(maps.Keys(c.tree)) {
				layOut(t, filepath.Join(root, dir), c.tree[dir])
			}
			var mounts strings.Builder
			for at, what := range c.mounts {
				f := strings.Fields(what)
				fmt.Fprintf(&mounts, "30 1 0:26 %s %s rw shared:4 - %s\n", f[0], filepath.Join(root, at), strings.Join(f[1:], " "))
			}
			got, want := findTaskPlace(c.groups, mounts.String()), taskPlace{}
			if c.parent != "" {
				want = taskPlace{parent: filepath.Join(root, c.parent), home: filepath.Join(root, c.home), unified: !strings.HasPrefix(c.parent, "pids")}
			}
			if got != want {
				t.Fatalf("%+v; want %+v", got, want)
			}
			for dir := range c.tree {
				text, _ := os.ReadFile(filepath.Join(root, dir, "cgroup.subtree_control"))
				if asked := string(text) == "+pids"; asked != (dir == c.asked) { // it would make one with processes threaded
					t.Errorf("%s is asked to hand pids down: %v", dir, asked)
				}
			}
		})
	}
}

func layOut(t *testing.T, dir, what string) {
	t.Helper()
	files := map[string]string{"cgroup.controllers": "cpu pids\n", "cgroup.subtree_control": "cpu\n"}
	for word := range strings.FieldsSeq(what) {
		switch word {
		case "pids":
			files["cgroup.subtree_control"] = "cpu pids\n"
		case "domain":
			files["cgroup.type"] = "domain\n"
		case "-":
			files = nil
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAScriptIsBornInItsGroupOfV2 uses the hierarchy of this host, whether or not
// it counts processes: also where the kernel cannot start a process in a group.
func TestAScriptIsBornInItsGroupOfV2(t *testing.T) {
	mounts, groups := string(process.ReadFile(os.Getpid(), "mountinfo")), string(process.ReadFile(os.Getpid(), "cgroup"))
	_, path, _ := strings.Cut("\n"+groups, "\n0::")
	home := cgroupDirectory(mounts, "cgroup2", "", strings.TrimSpace(path))
	if os.Getuid() != 0 || home == "" || !isWritable(home) {
		t.Skip("NOT TESTED: there is no group of cgroup v2 that this user may write to")
	}
	parent := home
	if !isTopGroup(home) {
		parent = filepath.Dir(home)
	}
	for name, start := range map[string]func(*taskGroup, *exec.Cmd) error{
		"by the kernel": (*taskGroup).startCommand,
		"by going in": func(g *taskGroup, cmd *exec.Cmd) error {
			return g.startFrom("cgroup.procs", os.Getpid(), cmd)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, lives := range []bool{true, false} {
				dir, err := os.MkdirTemp(parent, "test-")
				if err != nil {
					t.Fatal(err)
				}
				g := &taskGroup{dir: dir, place: taskPlace{parent: parent, home: home, unified: true}}
				cmd := exec.Command("/bin/sh", "-c", "sleep 86324 & echo $!; cat /proc/self/cgroup; wait")
				cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := start(g, cmd); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() })
				lines := bufio.NewScanner(out)
				born := ""
				for born == "" && lines.Scan() {
					_, born, _ = strings.Cut(lines.Text(), "0::")
				}
				if filepath.Base(born) != filepath.Base(g.dir) {
					t.Errorf("born in %q; want %s", born, g.dir)
				}
				if own := string(process.ReadFile(os.Getpid(), "cgroup")); own != groups {
					t.Errorf("the starter is in %s; was in %s", own, groups)
				}
				if n := len(g.listMembers()); n < 2 {
					t.Errorf("%d in the group; want the script and what it started", n)
				}
				if lives {
					g.liftBound()
				} else {
					g.endAll()
				}
				if _, err := os.Stat(g.dir); err == nil {
					t.Errorf("the group is left, with %v", g.listMembers())
				}
				if alive := syscall.Kill(cmd.Process.Pid, 0) == nil && !ended(cmd.Process.Pid); alive != lives {
					t.Errorf("the script lives: %v; want %v", alive, lives)
				}
			}
		})
	}
}

// ended: killed, and not waited for yet.
func ended(pid int) bool {
	p, _ := process.Look(pid)
	return p.Ended
}
