// Package agenttest makes agents for tests: directories with real control
// scripts that have the habits found in the field, and an application that
// notes when it goes up and down and notices when two of it run at once.
package agenttest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Habits are how a control script and its application behave. The zero value
// is an agent that daemonises properly and answers at once. The fields are
// lines of shell, run at the named moment in the version directory, where
// $version is the version and $agent the agent's directory.
type Habits struct {
	BeforeStart  string // in control start; "exit 1" fails
	Output       string // redirection of the application; default: var/app.log
	BeforeStop   string // in control stop
	Stop         string // instead of the kill and the wait of control stop
	BeforeStatus string // in control status
	Health       string // the body of control health; empty: the verb is missing
	NoPid        bool   // control pid is missing
	App          string // at the start of the application
	Control      string // the whole control script, instead of all of the above
}

// Script is the control script of an agent with these habits.
func (h Habits) Script() string {
	if h.Control != "" {
		return h.Control
	}
	output := h.Output
	if output == "" {
		output = ">>var/app.log 2>&1"
	}
	stop := h.Stop
	if stop == "" {
		stop = "kill $(cat var/app.pid) 2>/dev/null\n\twhile running; do sleep 0.02; done"
	}
	verbs := ""
	if !h.NoPid {
		verbs += "pid)\n\trunning && echo \"$pid\"\n\t;;\n"
	}
	if h.Health != "" {
		verbs += "health)\n\t" + h.Health + "\n\t;;\n"
	}
	return `#!/bin/sh
cd "${0%/*}" || exit 1
version=${PWD##*/}
agent=${PWD%/*}
[ -d var ] || mkdir -p var
running() {
	pid=
	[ -s var/app.pid ] && { read -r pid <var/app.pid || [ -n "$pid" ]; } && { read -r stat <"/proc/$pid/stat"; } 2>/dev/null || return 1
	case ${stat##*) } in Z*) return 1 ;; esac
}
case "$1" in
start)
	running && { echo "already running"; exit 1; }
	` + h.BeforeStart + `
	nohup ./app ` + output + ` </dev/null &
	echo $! >var/app.pid
	;;
stop)
	` + h.BeforeStop + `
	` + stop + `
	rm -f var/app.pid
	;;
status)
	` + h.BeforeStatus + `
	if running; then echo started; else echo stoped; fi
	;;
` + verbs + `*)
	echo "usage: control start|stop|status"
	;;
esac
`
}

// Files are the files of a release with these habits, by name.
func (h Habits) Files() map[string]string {
	return map[string]string{"control": h.Script(), "app": `#!/bin/sh
version=${PWD##*/}
agent=${PWD%/*}
events=$agent/var-events
note() { echo "$(date +%s%N) $1 $version $$" >>"$events"; }
exec 9>"$agent/var-lock"
flock -n 9 || note two-at-once
trap 'note down; exit 0' TERM
note up
` + h.App + `
while :; do
	sleep 1 9>&- &
	wait $!
done
`}
}

// Place puts a complete version into dir, {workDir}/{name}.
func (h Habits) Place(t testing.TB, dir, version string) {
	t.Helper()
	for name, text := range h.Files() {
		Write(t, filepath.Join(dir, version, name), text, 0o755)
	}
}

// Write makes a file and its directories.
func Write(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// Tarball packs a release and returns it with its md5 in hex.
func (h Habits) Tarball(t testing.TB) (data []byte, digest string) {
	t.Helper()
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	tw := tar.NewWriter(zw)
	for name, text := range h.Files() {
		if err := tw.WriteHeader(&tar.Header{Name: "./" + name, Mode: 0o755, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	sum := md5.Sum(buf.Bytes())
	return buf.Bytes(), hex.EncodeToString(sum[:])
}

// Event is what an application noted.
type Event struct {
	Nanos   int64  // Unix time
	What    string // up, down or two-at-once
	Version string
	Pid     int
}

// Events reads what the applications of the agent in dir noted.
func Events(t testing.TB, dir string) []Event {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "var-events"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var events []Event
	for line := range strings.Lines(string(data)) {
		var e Event
		if _, err := fmt.Sscan(line, &e.Nanos, &e.What, &e.Version, &e.Pid); err != nil {
			t.Fatalf("event %q: %v", line, err)
		}
		events = append(events, e)
	}
	return events
}

// Running lists the versions of the agent in dir that have a live application,
// once for each process, by asking the system.
func Running(t testing.TB, dir string) []string {
	t.Helper()
	var versions []string
	for _, p := range processes(t, dir) {
		versions = append(versions, p.version)
	}
	return versions
}

// CleanUp kills, when the test ends, every process that works in or below dir.
func CleanUp(t testing.TB, dir string) {
	t.Cleanup(func() {
		for _, p := range processes(t, dir) {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
	})
}

type process struct {
	pid, parent int
	version     string
}

// processes finds applications: ./app run by a shell below dir. What a shell
// forked and has not become another program yet is not another application.
func processes(t testing.TB, dir string) []process {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Skipf("SKIPPED: there is no /proc on this system: %v", err)
	}
	var found []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		cwd, err := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		if err != nil || !strings.HasPrefix(cwd, dir+"/") {
			continue
		}
		args, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if parent, alive := parentOf(pid); err == nil && strings.Contains(string(args), "./app") && alive {
			found = append(found, process{pid, parent, filepath.Base(cwd)})
		}
	}
	return slices.DeleteFunc(slices.Clone(found), func(p process) bool {
		return slices.ContainsFunc(found, func(other process) bool { return other.pid == p.parent })
	})
}

// parentOf reports false for a zombie and for what is gone.
func parentOf(pid int) (parent int, alive bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	var state string
	if _, err := fmt.Sscan(rest, &state, &parent); err != nil {
		return 0, false
	}
	return parent, state != "Z"
}

// Kill kills the applications of the agent in dir, as a crash would.
func Kill(t testing.TB, dir string) {
	t.Helper()
	for _, p := range processes(t, dir) {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
}

// Snapshot describes every file below dirs: mode, time of change and content,
// but not of logs, which others write meanwhile.
func Snapshot(t testing.TB, dirs ...string) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || strings.HasSuffix(path, ".log") {
				return err
			}
			fi, err := d.Info()
			if err != nil {
				return err
			}
			var content []byte
			if fi.Mode().IsRegular() {
				if content, err = os.ReadFile(path); err != nil {
					return err
				}
			}
			_, err = fmt.Fprintf(&all, "%s %v %d %x\n", path, fi.Mode(), fi.ModTime().UnixNano(), md5.Sum(content))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}
