package hostlab

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/ops-updater/ops-updater/meta"
)

// Habits are how a release behaves: lines of shell, run in the version directory.
// The zero value daemonises and answers at once.
type Habits struct {
	BeforeStart, BeforeStop, BeforeStatus string
	Health                                string // the body of control health; empty: it has no such verb
}

// The agents keep nothing on their own filesystem while they run, so that it can be
// made read-only, and note elsewhere what they do. The lock is one for all places: two
// that run at once are seen wherever they are.
const app = `#!/bin/sh
cd / || exit 1
note() { echo "$1 $version $$ $place" >>"$notes.events"; }
exec 9>>"$notes.lock"
flock -n 9 || note two-at-once
note up
trap 'kill $!; note down; exit 0' TERM
while :; do
	sleep 5 9>&- &
	wait $!
done
`

func (h Habits) script(notes string) string {
	verbs := ""
	if h.Health != "" {
		verbs = "health)\n\t" + h.Health + "\n\t;;\n"
	}
	return `#!/bin/sh
umask 000 # one user after another runs it
cd "${0%/*}" || exit 1
place=$PWD
hang() { while [ -e "$notes.hang" ]; do sleep 0.05; done; }
version=${PWD##*/}
workdir=${PWD%/*/*}
notes='` + notes + `'
export place version notes
pidfile=$notes.${workdir##*/}.$version.pid
running() { [ -s "$pidfile" ] && read -r pid <"$pidfile" && [ -d "/proc/$pid" ]; }
case "$1" in
start)
	running && { echo "already running"; exit 1; }
	hang
	` + h.BeforeStart + `
	nohup "$place/app" >/dev/null 2>&1 </dev/null &
	echo $! >"$pidfile"
	;;
stop)
	hang
	` + h.BeforeStop + `
	running && kill "$pid"
	while running; do sleep 0.02; done
	rm -f "$pidfile"
	;;
status)
	` + h.BeforeStatus + `
	if running; then echo started; else echo stoped; fi
	;;
pid)
	running && echo "$pid"
	;;
` + verbs + `*)
	echo "usage: control start|stop|status|pid"
	;;
esac
`
}

// Publish serves a release and returns what a server says to have it started.
func (l *Lab) Publish(name, version string, h Habits) meta.DesiredAgent {
	l.T.Helper()
	for _, ext := range []string{".events", ".lock"} {
		f, err := os.OpenFile(l.Path("notes/"+name+ext), os.O_CREATE|os.O_APPEND, 0o666)
		must(l.T, err)
		must(l.T, errors.Join(f.Chmod(0o666), f.Close()))
	}
	return l.PublishTarball(name, version, Pack(l.T, map[string][]byte{
		"./control": []byte(h.script(l.Path("notes/" + name))), "./app": []byte(app), "./data/table": []byte(strings.Repeat("content ", 4000)),
	}))
}

// PublishTarball serves a tarball as a release and returns what a server says to have it
// started.
func (l *Lab) PublishTarball(name, version string, tarball []byte) meta.DesiredAgent {
	sum := md5.Sum(tarball)
	digest := hex.EncodeToString(sum[:])
	file := meta.Arch() + "/" + meta.TarballName(name, version)
	l.Server.Put(file, tarball)
	l.Server.Put(file+".md5", []byte(digest+"  "+meta.TarballName(name, version)+"\n"))
	return meta.DesiredAgent{Name: name, Version: version, Tarball: l.Server.URL, MD5: digest, Cmd: meta.CmdStart}
}

// Hang lets the agent's control scripts hang in start and stop, or no longer.
func (l *Lab) Hang(name string, hang bool) {
	file := l.Path("notes/" + name + ".hang")
	if hang {
		must(l.T, os.WriteFile(file, nil, 0o666))
	} else if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
		l.T.Fatal(err)
	}
}

// Event is what an agent noted of itself.
type Event struct {
	What    string // up, down or two-at-once
	Version string
	Pid     int
	Place   string // its version directory
}

// Events are what the agent noted, in their order.
func (l *Lab) Events(name string) (events []Event) {
	l.T.Helper()
	data, err := os.ReadFile(l.Path("notes/" + name + ".events"))
	if err != nil && !os.IsNotExist(err) {
		l.T.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var e Event
		if _, err := fmt.Sscan(line, &e.What, &e.Version, &e.Pid, &e.Place); err != nil {
			l.T.Fatalf("event %q: %v", line, err)
		}
		events = append(events, e)
	}
	return events
}

// Instance is a running application of an agent.
type Instance struct {
	Pid   int
	Place string // its version directory
	UID   int
}

// Version is the version that runs.
func (i Instance) Version() string { return filepath.Base(i.Place) }

// Instances asks the system which applications of the agent run, wherever they are.
func (l *Lab) Instances(name string) (found []Instance) {
	l.T.Helper()
	entries, err := os.ReadDir("/proc")
	must(l.T, err)
	parents := map[int]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		args, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || !Alive(pid) {
			continue
		}
		for arg := range strings.SplitSeq(string(args), "\x00") {
			place, isApp := strings.CutSuffix(arg, "/app")
			if !isApp || !strings.HasPrefix(place, l.Dir+"/") || filepath.Base(filepath.Dir(place)) != name {
				continue
			}
			var st syscall.Stat_t
			if syscall.Stat(filepath.Join("/proc", e.Name()), &st) == nil {
				found = append(found, Instance{Pid: pid, Place: place, UID: int(st.Uid)})
				parents[pid] = parentOf(pid)
			}
			break
		}
	}
	// What a shell forked and has not become another program yet is no application.
	var own []Instance
	for _, i := range found {
		if _, forked := parents[parents[i.Pid]]; !forked && Alive(i.Pid) {
			own = append(own, i)
		}
	}
	return own
}

func parentOf(pid int) (parent int) {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(data), ") ")
	var state string
	_, _ = fmt.Sscan(rest, &state, &parent)
	return parent
}
